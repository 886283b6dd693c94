"""Run by test_evaluation_memory.py, alone in its process: what an evaluation's memory comes to.

    python memory_worker.py PAIR FIELDS-AS-JSON BACKEND DTYPE SAMPLES EXAMPLES MEMORY_MB

prints by how many MiB the process grew at its highest, model and data being there already, and the
bound: the least that is taken, where MEMORY_MB is 0.
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


def resident(which: str) -> float:
    """VmRSS, now, or VmHWM, the most there was. Not ru_maxrss: a child begins with its parent's."""
    result = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert result is not None
    return int(result[1]) / 2**10


def main(pair: str, fields: str, backend: str, dtype: str, *numbers: str) -> None:
    torch.set_num_threads(1)
    samples, examples, given = map(int, numbers)
    result = pairs.get(pair)
    config = type(result.variants[""])(**json.loads(fields))
    panel = make_panel(pair, config, backend, key=Key(0), dtype=dtype)
    x = result.batch(config, Key(1), as_dtype(dtype), examples)
    memory_mb = given or memory_of(panel.model, 1)
    importance_weighted(panel, x[:1], Key(2), samples=2)  # what a library sets up once
    before = resident("VmRSS")
    importance_weighted(panel, x, Key(2), samples, memory_mb)
    print(resident("VmHWM") - before, memory_mb)


if __name__ == "__main__":
    main(*sys.argv[1:])
