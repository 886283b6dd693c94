"""Compare one tensor between several runs, within its own error bound."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from diptych.arrays import is_float
from diptych.parity.bounds import AMPLIFICATION, FLOAT64_BOUND, rounding_bound
from diptych.parity.rows import ROOT_CAUSE, Row, compare_arrays, worst_of
from diptych.parity.trace import Call


class Item(NamedTuple):
    """One tensor as each run computed it, and the numbers that its bound depends on."""

    title: str
    kind: str
    call: Call | None
    leaf: str
    left: np.ndarray | None
    right: np.ndarray | None
    reference: np.ndarray | None
    """The left panel's value in float64."""
    condition: float
    roundings: int
    accumulates: bool = True
    """False for a parameter's gradient that a vjp overwrites instead of adding to it"""


def compare_item(item: Item, dtype: np.dtype, *, arbitrated: bool) -> Row:
    """Compare left with right or, if arbitrated, each with the reference: the worse of the two."""
    if item.kind == "parameter gradient" and item.right is None:
        row = compare_arrays(item.title, item.kind, item.left, None, FLOAT64_BOUND)
        return replace(row, note="unused: no gradient reached it on the right")
    if not item.accumulates:
        row = compare_arrays(item.title, item.kind, item.left, item.right, FLOAT64_BOUND)
        note = "overwritten on the left: a second backward pass does not double it"
        return replace(row, error=math.inf, note=note, origin=ROOT_CAUSE)
    bound = error_bound(item, dtype, arbitrated=arbitrated)
    if not arbitrated:
        return compare_arrays(item.title, item.kind, item.left, item.right, bound)
    rows = {
        side: compare_arrays(
            item.title, item.kind, array, item.reference, bound, (side, "float64 left")
        )
        for array, side in ((item.left, "left"), (item.right, "right"))
    }
    worst = worst_of(rows.values())
    side = next(side for side, row in rows.items() if row is worst)
    if worst.ok and _dtypes(item.left, item.right) not in ((), (dtype,)):
        dtypes = " and ".join(map(str, _dtypes(item.left, item.right)))
        return replace(worst, error=math.inf, note=f"computed in {dtypes}, not {dtype}")
    return worst if worst.ok else replace(worst, note=worst.note or f"the {side} panel is off")


def error_bound(item: Item, dtype: np.dtype, *, arbitrated: bool) -> float:
    """The error bound of one tensor.

        float64 on the CPU:    FLOAT64_BOUND max(1, condition / AMPLIFICATION)
        arbitrated:            LAMBDA u sqrt(roundings) condition

    On CUDA in float64 the second bound is at least FLOAT64_BOUND.
    """
    if not arbitrated:
        return FLOAT64_BOUND * max(1.0, item.condition / AMPLIFICATION)
    floor = FLOAT64_BOUND if dtype == np.float64 else 0.0
    return max(floor, rounding_bound(dtype, item.roundings) * item.condition)


def _dtypes(*arrays: np.ndarray | None) -> tuple[np.dtype, ...]:
    """The distinct float dtypes of the arrays."""
    return tuple({a.dtype: None for a in arrays if a is not None and is_float(a)})
