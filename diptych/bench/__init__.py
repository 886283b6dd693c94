"""Benchmarks of the panels: every backend in a process of its own, timed in turn.

    from diptych.bench import bench

Names are imported on first use: a worker imports only what it times.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.bench.backends import BACKENDS, names_for
    from diptych.bench.case import Case
    from diptych.bench.command import bench
    from diptych.bench.workloads import build, operations, parts, takes

_MODULES = {
    "BACKENDS": "backends",
    "Case": "case",
    "bench": "command",
    "build": "workloads",
    "names_for": "backends",
    "operations": "workloads",
    "parts": "workloads",
    "takes": "workloads",
}
__all__ = ["BACKENDS", "Case", "bench", "build", "names_for", "operations", "parts", "takes"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
