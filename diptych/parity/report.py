"""The outcome of a comparison: one row a tensor, in the order of computation."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from diptych.arrays import to_numpy
from diptych.display import Table


@dataclass(frozen=True)
class Row:
    """One tensor, compared: error = ‖a - b‖ / ‖b‖ over the whole tensor, b the reference."""

    name: str
    kind: str
    """parameter | noise | output | output gradient | input gradient | parameter gradient | buffer

    A buffer's start is a row of the parameters, what the run has made of it one of its own."""
    shape: tuple[int, ...]
    error: float
    """inf where one side is missing, misshapen, or not finite"""
    bound: float
    index: tuple[int, ...] | None = None
    """of the element that is furthest off"""
    values: tuple[float, float] | None = None
    """that element: what was found, what the reference has"""
    note: str = ""
    exact: bool = False
    """booleans and integers, masks among them: equal or not, whatever the bound"""
    origin: str = ""
    """of a failing row: "new" in this tensor, or "inherited" from what it was computed from"""

    @property
    def ok(self) -> bool:
        return self.error <= self.bound

    def __str__(self) -> str:
        element = "" if self.index is None else f" at {list(self.index)}"
        worst = "" if self.values is None else f": {self.values[0]!r} for {self.values[1]!r}"
        origin = f" [{self.origin}]" if self.origin else ""
        note = f" ({self.note})" if self.note else ""
        return (
            f"{self.kind} {self.name}: error {self.error:.2e} > bound {self.bound:.2e}"
            f"{element}{worst}{note}{origin}"
        )


@dataclass(frozen=True)
class Report:
    """All rows of one pair. `str(report)` is a table, failing rows first named below it."""

    name: str
    dtype: str
    device: str
    rows: tuple[Row, ...]
    masks_equal: bool | None = None
    """whether every boolean or integer array of noise or output is the same; None: there is none"""

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row with the largest error against its bound."""
        return max(self.rows, key=lambda row: row.error / row.bound if row.bound else row.error)

    @property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.ok)

    @property
    def first_divergence(self) -> Row | None:
        """The first row, in the order of computation, that fails; None where all agree."""
        return next(iter(self.failures), None)

    @property
    def first_new(self) -> Row | None:
        """The first failing row that is wrong itself; it may come after rows that inherit from
        code between the traced methods."""
        return next((row for row in self.failures if row.origin == "new"), None)

    @property
    def reproducer(self) -> str:
        """A command that repeats the comparison of a registered pair."""
        return f"diptych check {self.name!r} --dtype {self.dtype} --device {self.device} -v"

    def summary(self) -> dict[str, Any]:
        """One line for a machine: the pair, the verdict, and its worst tensor."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "device": self.device,
            "ok": self.ok,
            "tensors": len(self.rows),
            "worst": {"tensor": self.worst.name, "error": _jsonable(self.worst.error)},
            "masks_equal": self.masks_equal,
        }

    def to_json(self) -> str:
        """The summary, and every row, as JSON text; an infinite error is the string "inf"."""
        rows = [
            {**asdict(row), "ok": row.ok, "error": _jsonable(row.error)}
            | ({"values": [_jsonable(v) for v in row.values]} if row.values else {})
            for row in self.rows
        ]
        return json.dumps({**self.summary(), "rows": rows}, indent=1, allow_nan=False)

    def table(self) -> Table:
        verdict = "agrees" if self.ok else f"DIVERGES in {len(self.failures)} of {len(self.rows)}"
        table = Table(title=f"{escape(self.name)}  {self.dtype}  {self.device}: {verdict}")
        for heading in ("tensor", "kind", "shape", "error", "worst at", "bound", ""):
            table.add_column(heading, justify="right" if heading in ("error", "bound") else "left")
        for row in self.rows:
            table.add_row(
                escape(row.name),
                row.kind,
                str(list(row.shape)),
                f"{row.error:.1e}",
                "" if row.index is None else str(list(row.index)),
                f"{row.bound:.1e}",
                "ok" if row.ok else " ".join(filter(None, ("FAIL", row.origin, row.note))),
            )
        return table

    def __str__(self) -> str:
        sink = io.StringIO()
        Console(file=sink, width=140, color_system=None).print(self.table())
        if self.first_divergence is not None:
            sink.write(f"first divergence: {self.first_divergence}\n")
            if self.first_new not in (None, self.first_divergence):
                sink.write(f"first that is wrong itself: {self.first_new}\n")
            largest = max(row.error for row in self.failures)
            if math.isfinite(largest):
                sink.write(f"a bound of {largest:.1e} would have passed\n")
        return sink.getvalue()


def compare_arrays(
    name: str,
    kind: str,
    result: np.ndarray | None,
    reference: np.ndarray | None,
    bound: float,
    sides: tuple[str, str] = ("left", "right"),
) -> Row:
    """The row for one tensor. Booleans and integers must be equal whatever the bound.

    NaN or inf is a failure, on one side or on both: it would hide every other difference.
    """
    for array, side, other in ((result, sides[0], reference), (reference, sides[1], result)):
        if array is None:
            shape = () if other is None else other.shape
            note = f"missing on the {side}"
            return Row(name, kind, shape, math.inf, bound, note=note, exact=_is_exact(other))
    assert result is not None and reference is not None
    exact = _is_exact(reference)
    if result.shape != reference.shape:
        note = f"shape {result.shape} on the {sides[0]}, {reference.shape} on the {sides[1]}"
        return Row(name, kind, reference.shape, math.inf, bound, note=note, exact=exact)
    row = Row(name, kind, reference.shape, 0.0, 0.0 if exact else bound, exact=exact)
    if result.size == 0:
        return row
    a, b = result.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):
        distance = np.where(finite, np.abs(a - b), np.inf)
    index = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))
    row = replace(row, index=index, values=(float(a[index]), float(b[index])))
    if not finite.all():
        bad = [s for s, v in zip(sides, (a, b), strict=True) if not np.isfinite(v).all()]
        return replace(row, error=math.inf, note=f"NaN or inf on the {' and the '.join(bad)}")
    if exact:
        wrong = int((result != reference).sum())
        note = f"{wrong} of {result.size} differ" if wrong else ""
        return replace(row, error=math.inf if wrong else 0.0, note=note)
    return replace(row, error=normwise(a, b))


def compare_named(ours: Any, theirs: Any, kind: str, bound: float) -> list[Row]:
    """A row for each name that either side has."""
    arrays = [{n: to_numpy(array) for n, array in side.items()} for side in (ours, theirs)]
    names = arrays[0] | arrays[1]
    return [
        compare_arrays(name, kind, arrays[0].get(name), arrays[1].get(name), bound)
        for name in names
    ]


def masks_equal(rows: Iterable[Row]) -> bool | None:
    """Whether all masks and draws that must be equal to the bit are; None where none must."""
    masks = [row.ok for row in rows if row.exact and row.kind not in ("parameter", "buffer")]
    return all(masks) if masks else None


def _is_exact(array: np.ndarray | None) -> bool:
    return array is not None and not np.issubdtype(array.dtype, np.floating)


def normwise(result: np.ndarray, reference: np.ndarray) -> float:
    """‖found - reference‖ / ‖reference‖; 0 where both are zero, inf where only one is."""
    scale = float(np.abs(reference).max(initial=0.0))
    if scale == 0:
        return 0.0 if not result.any() else math.inf
    # scaled first: squares of what is smaller than 1e-162 or larger than 1e154 are lost
    difference = np.linalg.norm(result / scale - reference / scale)
    return float(difference / np.linalg.norm(reference / scale))


def worst_of(rows: Iterable[Row]) -> Row:
    """The row with the largest error; of equals the first."""
    return max(rows, key=lambda row: row.error)


def _jsonable(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)
