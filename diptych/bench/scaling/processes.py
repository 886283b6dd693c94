"""The environment of a process that is timed: its number of threads, and where the project lies."""

from __future__ import annotations

import os
from pathlib import Path

THREADS = ("OMP", "MKL", "OPENBLAS")
"""Libraries that read NAME_NUM_THREADS when they are imported."""
ROOT = str(Path(__file__).parents[3])


def environment(threads: int) -> dict[str, str]:
    """The variables of this process, with `threads` threads in every library."""
    paths = [ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    counts = {f"{name}_NUM_THREADS": str(threads) for name in THREADS}
    return os.environ | counts | {"PYTHONPATH": os.pathsep.join(paths)}
