"""The outcome of a comparison: one row for each tensor, in the order of computation."""

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

ROOT_CAUSE = "root cause"
"""Origin of a failing row: the panels compute different values from the same inputs."""
PROPAGATED = "propagated"
"""Origin of a failing row: its inputs already differ, and from equal inputs the panels agree."""


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


@dataclass(frozen=True)
class Report:
    """All rows of one pair. `str(report)` is a table, below the diagnosis if a row fails."""

    name: str
    dtype: str
    device: str
    rows: tuple[Row, ...]
    masks_equal: bool | None = None
    """True if all boolean and integer arrays of noise and outputs are equal; None without any"""

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row with the largest error relative to its bound."""
        return max(self.rows, key=lambda row: row.error / row.bound if row.bound else row.error)

    @property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.ok)

    @property
    def first_divergence(self) -> Row | None:
        """The first failing row, in the order of computation; None where all rows agree."""
        return next(iter(self.failures), None)

    @property
    def root_cause(self) -> Row | None:
        """The first failing row whose own computation differs.

        It may follow propagated rows: an error can enter between two traced methods and show in
        their inputs first. None if no traced method is at fault.
        """
        return next((row for row in self.failures if row.origin == ROOT_CAUSE), None)

    @property
    def diagnosis(self) -> str:
        """One line: where the divergence begins, and how many rows only propagate it."""
        row = self.root_cause or self.first_divergence
        if row is None:
            return f"{self.name}: {'all tensors agree' if self.rows else 'nothing was compared'}"
        failures, tensors = len(self.failures), len(self.rows)
        propagated = sum(failure.origin == PROPAGATED for failure in self.failures)
        consequence = ", and only propagate an earlier error" if propagated == failures else ""
        if 0 < propagated < failures:
            consequence = f", {propagated} of them only because their inputs differ"
        label = "first divergence" if row is self.first_divergence else "root cause"
        return f"{self.name}: {label}: {row}; {failures} of {tensors} tensors differ{consequence}"

    @property
    def reproducer(self) -> str:
        """A command that repeats the comparison of a registered pair."""
        return f"diptych check {self.name!r} --dtype {self.dtype} --device {self.device} -v"

    def summary(self) -> dict[str, Any]:
        """The name of the pair, the verdict and the worst tensor, ready for JSON."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "device": self.device,
            "ok": self.ok,
            "tensors": len(self.rows),
            "worst": {"tensor": self.worst.name, "error": _to_json_number(self.worst.error)},
            "masks_equal": self.masks_equal,
        }

    def to_json(self) -> str:
        """The summary and all rows as JSON text; an infinite error is the string "inf"."""
        rows = [
            {**asdict(row), "ok": row.ok, "error": _to_json_number(row.error)}
            | ({"values": [_to_json_number(v) for v in row.values]} if row.values else {})
            for row in self.rows
        ]
        return json.dumps({**self.summary(), "rows": rows}, indent=1, allow_nan=False)

    def table(self) -> Table:
        """All rows as a table for the terminal."""
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
        if not self.ok:
            sink.write(f"{self.diagnosis}\n")
        Console(file=sink, width=140, color_system=None).print(self.table())
        return sink.getvalue()


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


def _to_json_number(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)
