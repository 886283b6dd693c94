"""An evaluation of many samples stays under the bound that it is given, as the system counts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.panels import BACKENDS

WORKER = Path(__file__).parent / "memory_worker.py"
MLP = {"init": "torch"}
CUT = MLP | {"likelihood": "truncated_gaussian", "gaussian_std": 0.2}  # the densest of densities
CONV = {"image_size": 32, "base_channels": 8, "in_channels": 1, "recon_type": "bce"}


def peak_mib(
    pair: str, fields: dict[str, object], backend: str, dtype: str, *numbers: int
) -> float:
    """What the process grew by."""
    given = (pair, json.dumps(fields), backend, dtype, *map(str, numbers))
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, WORKER, *given],
        env=os.environ | threads,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("pair", "fields", "dtype", "samples"),
    [
        ("mlp_vae", MLP, "float32", 4096),
        ("mlp_vae", CUT, "float64", 4096),
        ("conv_vae", CONV, "float32", 4096),
        (
            "vlae",
            {},
            "float32",
            256,
        ),  # six pieces of the recipe's size: more would only take longer
    ],
    ids=["mlp", "truncated", "conv", "vlae"],
)
def test_memory_stays_under_its_bound(pair, fields, backend, dtype, samples):
    grown = peak_mib(pair, fields, backend, dtype, samples, 1, 64)
    assert 64 / 16 < grown < 64
