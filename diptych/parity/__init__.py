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
    from diptych.parity.functions import compare_functions
    from diptych.parity.layers import layer
    from diptych.parity.plugin import assert_parity
    from diptych.parity.recording import record
    from diptych.parity.report import Report
    from diptych.parity.rows import Row
    from diptych.parity.saved_cases import load_case, save_case
    from diptych.parity.trace import tap, tap_gradient

_MODULES = {
    "Report": "report",
    "Row": "rows",
    "assert_parity": "plugin",
    "case": "cases",
    "compare": "api",
    "compare_functions": "functions",
    "layer": "layers",
    "load_case": "saved_cases",
    "pair": "cases",
    "record": "recording",
    "save_case": "saved_cases",
    "tap": "trace",
    "tap_gradient": "trace",
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
