"""Faults that are recorded once for all tests: some of the page, and some that go wrong."""

from __future__ import annotations

import dataclasses
import io
import pickle
from pathlib import Path

from filelock import FileLock
from rich.console import Console

from diptych.site.breaks.fault import Edit, Fault, read_faults
from diptych.site.breaks.record import Recorded, record_faults

REAL = ("wrong-gate", "rounded-constant", "std-for-logvar")
"""faults of faults.toml: in the left panel, in the right one, and in both"""
ANY = Fault(
    name="any",
    title="Any fault",
    why="It is made for a test.",
    sign="It is not.",
    pair="mlp_vae",
    edits=(Edit("numpy_ref/mlp_vae.py", "z = mu[:, None] + std[:, None] * eps", "z = eps"),),
    expect="reparameterize",
    float32="skipped",
)
STD = Edit("numpy_ref/mlp_vae.py", "std = np.exp(0.5 * logvar)", "std = np.exp(logvar / 2)")
WRONG = {
    "no-effect": {"edits": (STD,)},
    "not-in-the-file": {"edits": (Edit("numpy_ref/mlp_vae.py", "std = exp(", "std = "),)},
    "no-python": {"edits": (dataclasses.replace(STD, new="std = = 0"),)},
    "elsewhere": {"edits": (dataclasses.replace(STD, new="std = np.exp(logvar)"),)},
    "not-noticed": {
        "edits": (STD,),
        "expect": "",
        "witness": "parity_tests/models/test_mlp_vae.py::test_mlp_vae_left_equals_right",
    },
}
"""Changes of ANY that make a fault with a problem, by name."""


def record_once(folder: Path) -> dict[str, Recorded]:
    """The faults by name, recorded by the first process that asks for them."""
    file = folder / "recorded_faults.pickle"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            faults = [fault for fault in read_faults() if fault.name in REAL]
            faults += [dataclasses.replace(ANY, name=name, **c) for name, c in WRONG.items()]
            console = Console(file=io.StringIO())
            file.write_bytes(pickle.dumps(record_faults(console, workers=1, faults=faults)))
        recorded = pickle.loads(file.read_bytes())
    return {r.fault.name: r for r in recorded}
