"""Parity: compare a pair tensor by tensor, and locate the first divergence.

Names are imported on first use: pytest loads the plugin in every project that has diptych
installed, and torch takes a second to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.parity.api import compare
    from diptych.parity.cases import case, pair
    from diptych.parity.functions.functions import compare_functions
    from diptych.parity.functions.layers import layer
    from diptych.parity.measures.rows import Row
    from diptych.parity.plugin import assert_parity
    from diptych.parity.recording import record
    from diptych.parity.reports.report import Report
    from diptych.parity.running.trace import tap, tap_gradient
    from diptych.parity.saved_cases import load_case, save_case

_MODULES = {
    "Report": "reports.report",
    "Row": "measures.rows",
    "assert_parity": "plugin",
    "case": "cases",
    "compare": "api",
    "compare_functions": "functions.functions",
    "layer": "functions.layers",
    "load_case": "saved_cases",
    "pair": "cases",
    "record": "recording",
    "save_case": "saved_cases",
    "tap": "running.trace",
    "tap_gradient": "running.trace",
}
__all__ = [
    "Report",
    "Row",
    "assert_parity",
    "case",
    "compare",
    "compare_functions",
    "layer",
    "load_case",
    "pair",
    "record",
    "save_case",
    "tap",
    "tap_gradient",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
