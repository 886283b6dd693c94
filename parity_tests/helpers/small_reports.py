"""Rows and reports made by hand, for the tests of what a report says."""

from __future__ import annotations

import math
from typing import Any

from diptych.parity.measures.rows import Row, Statistics
from diptych.parity.reports.report import Report


def agreeing_row(name: str, kind: str = "output", **fields: Any) -> Row:
    """A row with an error of one rounding."""
    settings = {"shape": (7, 3), "error": 1.1e-16, "bound": 1e-13, "index": (0, 1)}
    return Row(name, kind, **{**settings, "values": (1.0, 1.0 + 2**-52), **fields})


def failing_row(name: str, kind: str = "output", **fields: Any) -> Row:
    """A row that is far off at [4, 1]."""
    settings = {"shape": (7, 3), "error": 0.342, "bound": 1e-13, "index": (4, 1)}
    return Row(name, kind, **{**settings, "values": (-0.67312, 0.0), **fields})


def report_of(*rows: Row, **fields: Any) -> Report:
    return Report(**{"name": "pair", "dtype": "float64", "device": "cpu", "rows": rows, **fields})


def fault_in_the_middle(propagated: int = 3, **fields: Any) -> Report:
    """Three agreeing rows, a root cause, an agreeing row, and rows that inherit from the cause."""
    rows = [
        agreeing_row("block1.weight", "parameter", error=0.0, bound=0.0, module="block1"),
        agreeing_row("block1", module="block1"),
        agreeing_row("block2.act", module="block2.act"),
        failing_row(
            "block2.act(x)",
            "input gradient",
            origin="root cause",
            module="block2.act",
            statistics=Statistics(3.0, 4e14, 5e15),
        ),
        agreeing_row("block2.act.scale", "parameter gradient", module="block2.act"),
        *(
            failing_row(f"block1.layer{i}", origin="propagated", module="block1")
            for i in range(propagated)
        ),
    ]
    sources = {"block2.act": ("left.py:12", "right.py:34")}
    return report_of(*rows, **{"sources": sources, **fields})


def missing_row(name: str = "gate", **fields: Any) -> Row:
    return Row(name, "output", (7, 3), math.inf, 1e-13, **{"note": "missing on the left", **fields})
