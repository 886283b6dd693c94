"""Rows: the comparison of one tensor, and how it is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.arrays import to_numpy
from diptych.parity.measures.errors import in_ulp, norm, normwise, unexplained

Widen = Callable[[np.ndarray | None, float, float], float]
"""(mask of elements, error, norm that it is relative to) -> bound, no wider than the error needs"""

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
    """parameter | noise | output | output gradient | input gradient | parameter gradient | buffer |
    value

    Values are those of registered pairs in evaluation mode, such as samples (see parity.values).
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

    @property
    def excess(self) -> float:
        """The error relative to its bound; the error itself if the bound is 0."""
        return self.error / self.bound if self.bound else self.error

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
    *,
    infinities: str = "error",
    widen: Widen | None = None,
) -> Row:
    """Compare one tensor with its reference. Booleans and integers must be equal.

    The error is normwise over the whole tensor, and over the elements that it cannot explain (see
    `errors.unexplained`), so that one huge element cannot hide the others.

    NaN is a failure, on one side or on both: it would hide every other difference. So is inf,
    unless `infinities` allows equal ones: "masked" allows -inf on both sides, "equal" either sign.
    `sides` names the two in the notes. `widen(mask, error, norm)` gives the bound for the elements
    of a mask, wider where they are badly conditioned; it is called only if the error is over
    `bound`. Where the reference is 0, the error is relative to the array.
    """
    problem = _problem(array, reference, sides)
    if problem or array is None or reference is None:
        shape = next((a.shape for a in (reference, array) if a is not None), ())
        exact = _is_exact(array if reference is None else reference)
        return Row(name, kind, shape, math.inf, bound, note=problem, exact=exact)
    exact = _is_exact(reference)
    row = Row(name, kind, reference.shape, 0.0, 0.0 if exact else bound, exact=exact)
    if array.size == 0:
        return row
    if exact:
        return _compare_exactly(row, array, reference)
    a, b = _as_float64(array), _as_float64(reference)
    finite = np.isfinite(a) & np.isfinite(b)
    if not finite.all():
        masked = _equal_infinities(a, b, infinities)
        nothing_left = not finite.any() and infinities != "equal"
        if not (finite | masked).all() or nothing_left:
            bad = [s for s, v in zip(sides, (a, b), strict=True) if not np.isfinite(v).all()]
            row = _at(row, a, b, ~(finite | masked) if not (finite | masked).all() else ~finite)
            return replace(row, error=math.inf, note=f"NaN or inf on the {' and the '.join(bad)}")
        row = replace(row, note=f"{masked.sum()} elements are infinite on both sides")
        a, b = np.where(masked, 0, a), np.where(masked, 0, b)
    return _compare_floats(row, a, b, bound, widen, _coarser(array, reference))


def _problem(array: np.ndarray | None, reference: np.ndarray | None, sides: tuple[str, str]) -> str:
    """Why two arrays cannot be compared, or ""."""
    for side, value in zip(sides, (array, reference), strict=True):
        if value is None:
            return f"missing on the {side}"
        if value.dtype.kind not in "biufc":
            return f"dtype {value.dtype} on the {side}"
    assert array is not None and reference is not None
    if array.shape != reference.shape:
        return f"shape {array.shape} on the {sides[0]}, {reference.shape} on the {sides[1]}"
    return ""


def _compare_exactly(row: Row, array: np.ndarray, reference: np.ndarray) -> Row:
    different = array != reference
    row = _at(row, array.astype(np.float64), reference.astype(np.float64), different)
    count = int(different.sum())
    note = f"{count} of {array.size} differ" if count else ""
    return replace(row, error=math.inf if count else 0.0, note=note)


def _compare_floats(
    row: Row,
    a: np.ndarray,
    b: np.ndarray,
    bound: float,
    widen: Widen | None,
    dtype: np.dtype,
) -> Row:
    """The row over the whole tensor; or over the elements that hide in it and are over theirs."""
    whole = normwise(a, b)
    error, limit = _widened(a, b, bound, widen, None)
    row = _at(replace(row, error=error, bound=limit), a, b, None)
    if error > limit:
        return row
    mask = unexplained(a, b, limit, float(np.finfo(dtype).tiny))
    if mask is None:
        return row
    error, limit = _widened(a, b, limit, widen, mask)
    if error <= limit:
        return row
    size = float(np.abs(b).max())
    note = f"hidden by elements of {size:.0e} in the norm of the whole tensor, {whole:.1e}"
    note = "; ".join(filter(None, (row.note, note)))
    return _at(replace(row, error=error, bound=limit, note=note), a, b, mask)


def _widened(
    a: np.ndarray, b: np.ndarray, bound: float, widen: Widen | None, mask: np.ndarray | None
) -> tuple[float, float]:
    """The error of the elements of a mask and its bound, which is widened if that helps."""
    x, y = (a, b) if mask is None else (a[mask], b[mask])
    error = normwise(x, y)
    if error <= bound or widen is None:
        return error, bound
    relative = error if error < math.inf else 1.0
    limit = widen(mask, relative, norm(y) or norm(x))
    return (relative if relative <= limit else error), limit


def _coarser(array: np.ndarray, reference: np.ndarray) -> np.dtype:
    """The dtype of the two with fewer digits."""
    dtypes = [
        np.dtype(f"f{x.dtype.itemsize // (2 if x.dtype.kind == 'c' else 1)}")
        for x in (array, reference)
    ]
    return min(dtypes, key=lambda dtype: dtype.itemsize)


def _at(row: Row, a: np.ndarray, b: np.ndarray, mask: np.ndarray | None) -> Row:
    """The row with the element of the largest difference among those of a mask."""
    with np.errstate(all="ignore"):
        distance = np.abs(a - b)
    if mask is not None and mask.any():
        distance = np.where(mask, distance, -1.0)
    # argmax takes a NaN for the maximum
    index = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))
    return replace(row, index=index, values=(float(a[index]), float(b[index])))


def _equal_infinities(a: np.ndarray, b: np.ndarray, infinities: str) -> np.ndarray:
    """Mask of the infinities that are equal on both sides and allowed."""
    allowed = {"masked": np.isneginf(b), "equal": np.isinf(b)}.get(infinities, False)
    return (a == b) & allowed


def _as_float64(array: np.ndarray) -> np.ndarray:
    """The array in float64; of a complex one the real and the imaginary parts."""
    if np.iscomplexobj(array):
        return np.stack([array.real, array.imag], -1).astype(np.float64)
    return array.astype(np.float64)


def add_statistics(row: Row, a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> Row:
    """The row with the median, the 99th percentile and the maximum of its errors in ulp."""
    if row.exact or a.shape != b.shape or not a.size or row.error == 0:
        return row
    ulps = in_ulp(_as_float64(a), _as_float64(b), dtype)
    ulps = ulps[np.isfinite(ulps)]
    if not ulps.size:
        return row
    median, p99 = (float(q) for q in np.quantile(ulps, [0.5, 0.99]))
    return replace(row, statistics=Statistics(median, p99, float(ulps.max())))


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
    return array is not None and array.dtype.kind not in "fc"
