"""Rows: the comparison of one tensor, and how it is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.arrays import to_numpy

ROOT_CAUSE = "root cause"
"""Origin of a failing row: the panels compute different values from the same inputs."""
PROPAGATED = "propagated"
"""Origin of a failing row: its inputs already differ, and from equal inputs the panels agree."""


@dataclass(frozen=True)
class Statistics:
    """Errors of a tensor's elements in units in the last place (ulp) of the reference."""

    median: float
    p99: float
    max: float


@dataclass(frozen=True)
class Row:
    """The comparison of one tensor: error = ‖a - b‖ / ‖b‖ over all elements, b the reference."""

    name: str
    kind: str
    """parameter | noise | output | output gradient | input gradient | parameter gradient | buffer

    The initial value of a buffer is compared among the parameters, its value after the run in a
    row of its own."""
    shape: tuple[int, ...]
    error: float
    """inf where a tensor is missing, has another shape, or is not finite"""
    bound: float
    index: tuple[int, ...] | None = None
    """Index of the element with the largest difference."""
    values: tuple[float, float] | None = None
    """That element in the compared tensor and in the reference."""
    note: str = ""
    exact: bool = False
    """True for booleans and integers, such as masks: they must be equal, whatever the bound."""
    origin: str = ""
    """ROOT_CAUSE or PROPAGATED for a failing row, "" for one that agrees."""
    module: str | None = None
    """Path of the module whose call computed the tensor: "" for the root, None without a call."""
    loosened: bool = False
    """True if the bound was set by hand."""
    statistics: Statistics | None = None

    @property
    def ok(self) -> bool:
        return self.error <= self.bound

    def __str__(self) -> str:
        element = "" if self.index is None else f", worst at {list(self.index)}"
        values = (
            "" if self.values is None else f": {self.values[0]!r} instead of {self.values[1]!r}"
        )
        origin = f" [{self.origin}]" if self.origin else ""
        note = f" ({self.note})" if self.note else ""
        return (
            f"{self.kind} {self.name}: relative error {self.error:.2e} > bound {self.bound:.2e}"
            f"{element}{values}{note}{origin}"
        )


def compare_arrays(
    name: str,
    kind: str,
    array: np.ndarray | None,
    reference: np.ndarray | None,
    bound: float,
    sides: tuple[str, str] = ("left", "right"),
) -> Row:
    """Compare one tensor with its reference. Booleans and integers must be equal.

    NaN or inf is a failure, on one side or on both: it would hide every other difference.
    `sides` names the two in the notes.
    """
    for side, present, other in ((sides[0], array, reference), (sides[1], reference, array)):
        if present is None:
            shape = () if other is None else other.shape
            note = f"missing on the {side}"
            return Row(name, kind, shape, math.inf, bound, note=note, exact=_is_exact(other))
    assert array is not None and reference is not None
    exact = _is_exact(reference)
    if array.shape != reference.shape:
        note = f"shape {array.shape} on the {sides[0]}, {reference.shape} on the {sides[1]}"
        return Row(name, kind, reference.shape, math.inf, bound, note=note, exact=exact)
    row = Row(name, kind, reference.shape, 0.0, 0.0 if exact else bound, exact=exact)
    if array.size == 0:
        return row
    a, b = array.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):
        distance = np.where(finite, np.abs(a - b), np.inf)
    index = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))
    row = replace(row, index=index, values=(float(a[index]), float(b[index])))
    if not finite.all():
        bad = [s for s, v in zip(sides, (a, b), strict=True) if not np.isfinite(v).all()]
        return replace(row, error=math.inf, note=f"NaN or inf on the {' and the '.join(bad)}")
    if exact:
        count = int((array != reference).sum())
        note = f"{count} of {array.size} differ" if count else ""
        return replace(row, error=math.inf if count else 0.0, note=note)
    return replace(row, error=normwise(a, b))


def compare_named(left: Any, right: Any, kind: str, bound: float) -> list[Row]:
    """Compare two dicts of arrays: one row for each name in either."""
    arrays = [{name: to_numpy(array) for name, array in side.items()} for side in (left, right)]
    names = arrays[0] | arrays[1]
    return [
        compare_arrays(name, kind, arrays[0].get(name), arrays[1].get(name), bound)
        for name in names
    ]


def masks_equal(rows: Iterable[Row]) -> bool | None:
    """True if all masks and other exact draws are equal; None if no row is exact."""
    masks = [row.ok for row in rows if row.exact and row.kind not in ("parameter", "buffer")]
    return all(masks) if masks else None


def _is_exact(array: np.ndarray | None) -> bool:
    return array is not None and not np.issubdtype(array.dtype, np.floating)


def normwise(array: np.ndarray, reference: np.ndarray) -> float:
    """‖array - reference‖ / ‖reference‖; 0 where both are zero, inf where only one is."""
    scale = float(np.abs(reference).max(initial=0.0))
    if scale == 0:
        return 0.0 if not array.any() else math.inf
    # scaled first: squares of numbers below 1e-162 underflow, squares above 1e154 overflow
    difference = np.linalg.norm(array / scale - reference / scale)
    return float(difference / np.linalg.norm(reference / scale))


def worst_of(rows: Iterable[Row]) -> Row:
    """The row with the largest error; the first one among equals."""
    return max(rows, key=lambda row: row.error)
