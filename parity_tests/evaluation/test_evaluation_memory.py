"""An evaluation of many samples stays under the bound that it is given, as the system counts it."""

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
CUT = MLP | {"likelihood": "truncated_gaussian", "gaussian_std": 0.2}  # the densest of densities
WIDE = {"context": "local", "window_width": 56, "window_rows": 28, "decoder_maps": 4, "maps": 2}
THIN = {"decoder_maps": 1, "maps": 1, "context_maps": 1, "hidden_dim": 10, "flow_hidden_dim": 10}
CONV = {"image_size": 32, "base_channels": 16, "in_channels": 1, "recon_type": "bce"}


def grown_and_bound(
    pair: str, fields: dict[str, object], backend: str, dtype: str, *numbers: int
) -> tuple[float, float]:
    """What the process grew by, and what it was given, MiB."""
    given = (pair, json.dumps(fields), backend, dtype, *map(str, numbers))
    settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if not numbers[-1]:  # what is freed is given back, and counts anew: the warm-up hides nothing
        settings["MALLOC_MMAP_THRESHOLD_"] = "65536"
    done = subprocess.run(
        [sys.executable, WORKER, *given],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown, bound = map(float, done.stdout.split())
    return grown, bound


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks for the peak")


@linux
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("pair", "fields", "dtype", "samples"),
    [
        ("mlp_vae", MLP, "float32", 4096),
        ("mlp_vae", CUT, "float64", 4096),
        ("conv_vae", CONV, "float32", 4096),
        ("vlae", {}, "float32", 256),  # of the recipe's size more would only take longer
        ("vlae", THIN, "float32", 2048),
    ],
    ids=["mlp", "truncated", "conv", "vlae", "thin"],
)
def test_memory_stays_under_its_bound(pair, fields, backend, dtype, samples):
    grown, bound = grown_and_bound(pair, fields, backend, dtype, samples, 1, 64)
    assert bound / 64 < grown < bound


@linux
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("pair", "fields", "dtype"),
    [
        ("vlae", {}, "float64"),
        ("vlae", {"flow_hidden_dim": 2000}, "float32"),  # the copies of weights alone are 120 MiB
        ("vlae", WIDE, "float32"),  # two images' columns are 100 MiB
        ("conv_vae", CONV, "float32"),
    ],
    ids=["recipe", "weights", "columns", "conv"],
)
def test_the_least_bound_is_enough(pair, fields, backend, dtype):
    grown, bound = grown_and_bound(pair, fields, backend, dtype, 8, 1, 0)
    assert grown < bound
