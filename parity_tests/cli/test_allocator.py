"""Memory that is freed stays with the process of a command."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys
import numpy as np
from diptych.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(5_000_000)
before = faults()
for _ in range(20):
    np.ones(5_000_000)
print(faults() - before)
"""


def page_faults(memory: str) -> int:
    """Page faults of 20 arrays of 40 MB, each freed before the next, in a new process."""
    command = [sys.executable, "-c", FAULTS, memory]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is a function of glibc")
def test_a_large_array_reuses_the_pages_of_the_last_one():
    returned = page_faults("returned")
    assert returned >= 20  # at least one for each array, even with huge pages
    assert page_faults("kept") < returned / 20
