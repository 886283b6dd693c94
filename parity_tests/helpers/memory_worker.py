"""Script of test_evaluation_memory.py: measure the memory of an evaluation in its own process.

    python memory_worker.py PAIR FIELDS-AS-JSON BACKEND DTYPE SAMPLES EXAMPLES MEMORY_MB

prints the peak growth of the process in MiB, beyond model and data, and the memory bound. With a
MEMORY_MB of 0 the bound is the smallest that is accepted.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import torch

from diptych import pairs
from diptych.evaluation.importance import importance_weighted
from diptych.evaluation.memory import memory_of
from diptych.panels import make_panel
from model_specs.common.key import Key
from numpy_ref.nn.module import as_dtype


def resident_mib(field: str) -> float:
    """Return VmRSS (current) or VmHWM (peak) in MiB; ru_maxrss would start at the parent's peak."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / 2**10


def main(pair_name: str, fields: str, backend: str, dtype: str, *numbers: str) -> None:
    torch.set_num_threads(1)
    samples, examples, bound = map(int, numbers)
    pair = pairs.get(pair_name)
    config = type(pair.variants[""])(**json.loads(fields))
    panel = make_panel(pair_name, config, backend, key=Key(0), dtype=dtype)
    x = pair.batch(config, Key(1), as_dtype(dtype), examples)
    memory_mb = bound or memory_of(panel.model, 1)
    importance_weighted(
        panel, x[:1], Key(2), samples=2
    )  # lets libraries allocate what they set up once
    start = resident_mib("VmRSS")
    importance_weighted(panel, x, Key(2), samples, memory_mb)
    print(resident_mib("VmHWM") - start, memory_mb)


if __name__ == "__main__":
    main(*sys.argv[1:])
