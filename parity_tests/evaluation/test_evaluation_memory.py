"""The peak memory of an evaluation, as the operating system counts it, stays under its bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.panels import BACKENDS

WORKER = Path(__file__).parents[1] / "helpers" / "memory_worker.py"
MLP = {"init": "torch"}
CUT = MLP | {"likelihood": "truncated_gaussian", "gaussian_std": 0.2}  # needs the most memory
WIDE = {"context": "local", "window_width": 56, "window_rows": 28, "decoder_maps": 4, "maps": 2}
THIN = {"decoder_maps": 1, "maps": 1, "context_maps": 1, "hidden_dim": 10, "flow_hidden_dim": 10}
CONV = {"image_size": 32, "base_channels": 16, "in_channels": 1, "recon_type": "bce"}


def growth_and_bound(
    pair: str, fields: dict[str, object], backend: str, dtype: str, *numbers: int
) -> tuple[float, float]:
    """Return the growth of the worker process and its memory bound, in MiB."""
    arguments = (pair, json.dumps(fields), backend, dtype, *map(str, numbers))
    settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # freed memory is returned at once: otherwise the warm-up hides growth, and the holes of the
    # heap count, which took 12 to 34 MiB beside 36 MiB of arrays, different in every run
    settings["MALLOC_MMAP_THRESHOLD_"] = "65536"
    process = subprocess.run(
        [sys.executable, WORKER, *arguments],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    growth, bound = map(float, process.stdout.split())
    return growth, bound


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")


@linux
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("pair", "fields", "dtype", "samples"),
    [
        ("mlp_vae", MLP, "float32", 4096),
        ("mlp_vae", CUT, "float64", 4096),
        ("conv_vae", CONV, "float32", 4096),
        ("vlae", {}, "float32", 256),  # a model of the default size: more samples only take longer
        ("vlae", THIN, "float32", 2048),
    ],
    ids=["mlp", "truncated", "conv", "vlae", "thin"],
)
def test_memory_stays_under_its_bound(pair, fields, backend, dtype, samples):
    growth, bound = growth_and_bound(pair, fields, backend, dtype, samples, 1, 64)
    assert bound / 64 < growth < bound


@linux
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("pair", "fields", "dtype"),
    [
        ("vlae", {}, "float64"),
        ("vlae", {"flow_hidden_dim": 2000}, "float32"),  # copies of the weights take 120 MiB
        ("vlae", WIDE, "float32"),  # the columns of two images take 100 MiB
        ("conv_vae", CONV, "float32"),
    ],
    ids=["recipe", "weights", "columns", "conv"],
)
def test_the_smallest_bound_is_enough(pair, fields, backend, dtype):
    growth, bound = growth_and_bound(pair, fields, backend, dtype, 8, 1, 0)
    assert growth < bound
