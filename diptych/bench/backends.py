"""The registry of backends: a name, and the function that makes the operations of a case.

A new backend is one line here; workers, comparison, tables and figures take it from this dict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from diptych.bench import captured, plain_steps
from diptych.bench.case import Case
from diptych.bench.steps import Steps, numpy_steps, torch_steps


@dataclass(frozen=True)
class Backend:
    """One implementation of every model."""

    make: Callable[[Case], Steps]
    """Builds the operations of a case"""
    device: str = "cpu"
    """The device that computes: cpu or cuda"""
    compiled: bool = False
    """True if torch.compile takes part, which needs seconds before the first call"""
    takes: Callable[[Case], bool] = lambda case: True
    """True if the backend has the model of a case"""
    plain: bool = False
    """True for torch code without Diptych"""


def _compiles(case: Case) -> bool:
    """True if torch.compile takes the model: no loop over time is compiled."""
    return case.pair.inputs == "images"


BACKENDS: dict[str, Backend] = {
    "numpy": Backend(numpy_steps),
    "torch": Backend(torch_steps),
    "torch compiled": Backend(partial(torch_steps, compiled=True), "cpu", True, _compiles),
    plain_steps.NAME: Backend(plain_steps.plain_steps, takes=plain_steps.takes, plain=True),
    "torch cuda": Backend(partial(torch_steps, device="cuda"), "cuda"),
    "torch cuda compiled": Backend(
        partial(torch_steps, device="cuda", compiled=True), "cuda", True, _compiles
    ),
    "torch cuda captured": Backend(captured.captured_steps, "cuda"),
}
"""The backends by name, in the order of the tables."""


def names_for(device: str, *, compiled: bool = True, plain: bool = True) -> list[str]:
    """The backends that are timed on a device: on a GPU those of the CPU as well."""
    return [
        name
        for name, backend in BACKENDS.items()
        if (backend.device == "cpu" or device != "cpu")
        and (compiled or not backend.compiled)
        and (plain or not backend.plain)
    ]
