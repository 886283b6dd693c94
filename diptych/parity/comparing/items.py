"""Compare one tensor between the runs, within its own error bound."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from diptych.arrays import is_float
from diptych.options.options import Options
from diptych.parity.comparing.references import References, Select
from diptych.parity.measures.bounds import FLOAT64_BOUND, rounding_bound
from diptych.parity.measures.rows import ROOT_CAUSE, Row, add_statistics, compare_arrays
from diptych.parity.running.trace import Call


class Item(NamedTuple):
    """One tensor of both sides, and what its bound depends on."""

    title: str
    kind: str
    call: Call | None
    leaf: str
    left: np.ndarray | None
    right: np.ndarray | None
    select: Select
    """Takes the tensor from a further run of the left model"""
    roundings: int
    problem: str = ""
    """The reason why it fails whatever the values, such as a parameter tied on one side only"""
    dtypes: tuple[str, ...] = ()
    """Dtypes of the two sides that NumPy lacks, or "number" for a Python number"""


class TensorComparison:
    """Compares the two arrays of an item within the bound of that item.

    Left is compared with right. If `arbitrated` and they differ, then each is compared with a run
    in float64, and the worse of the two counts.
    """

    def __init__(
        self, dtype: np.dtype, references: References, options: Options, *, arbitrated: bool
    ) -> None:
        self.dtype, self.references, self.options = dtype, references, options
        self.arbitrated = arbitrated

    def row(self, item: Item) -> Row:
        """The row of one item, without its origin."""
        row = self._row(item)
        module = None if item.call is None else item.call.module
        row = replace(row, module=module)
        if not row.ok and item.left is not None and item.right is not None:
            row = add_statistics(row, item.left, item.right, self.dtype)
        return row

    def _row(self, item: Item) -> Row:
        by_hand = self.options.bound_for(item.title)
        bound = self._bound(item) if by_hand is None else by_hand
        if item.problem:
            row = compare_arrays(item.title, item.kind, item.left, item.right, bound)
            note = item.problem if row.error != math.inf else f"{item.problem}; {row.note}"
            return replace(row, error=math.inf, note=note.rstrip("; "), origin=ROOT_CAUSE)
        direct = self._compare(item, bound, item.left, item.right, ("left", "right"))
        reference = None
        if self.arbitrated and not direct.ok and item.left is not None and item.right is not None:
            reference = self._reference(item)
        row = direct
        if reference is not None and is_float(reference):
            row = max(
                (
                    self._compare(item, bound, array, reference, (side, "float64 left"))
                    for array, side in ((item.left, "left"), (item.right, "right"))
                ),
                key=lambda row: row.excess,
            )
        row = replace(row, loosened=by_hand is not None)
        return self._with_dtypes(row, item) if row.ok and by_hand is None else row

    def _compare(
        self,
        item: Item,
        bound: float,
        array: np.ndarray | None,
        other: np.ndarray | None,
        sides: tuple[str, str],
    ) -> Row:
        """The row of one array and its reference."""
        is_last = not self.arbitrated or sides[1] != "right"  # the arbiter is asked next
        widen = functools.partial(self.references.widen, item.select, bound)
        row = compare_arrays(
            item.title,
            item.kind,
            array,
            other,
            bound,
            sides,
            infinities=self.options.infinities,
            widen=widen if is_last or self.references.side is None else None,
        )
        is_arbiter = sides[1] != "right"
        if row.ok or not is_arbiter or row.note:
            return row
        return replace(row, note=f"the {sides[0]} panel is off")

    def _bound(self, item: Item) -> float:
        """The error bound of one tensor, before it is widened by noisy runs.

            float64 on the CPU:    FLOAT64_BOUND
            float32 or CUDA:       LAMBDA u sqrt(roundings)

        On CUDA in float64 the second bound is at least FLOAT64_BOUND.
        """
        if not self.arbitrated:
            return FLOAT64_BOUND
        floor = FLOAT64_BOUND if self.dtype == np.float64 else 0.0
        return max(floor, rounding_bound(self.dtype, item.roundings))

    def _reference(self, item: Item) -> np.ndarray | None:
        """The tensor in float64.

        Elements that are the largest number of the dtype on both sides, as in masked scores, keep
        that value: in float64 the largest number is another one.
        """
        run = self.references.reference
        reference = None if run is None else item.select(run)
        if not _is_float(reference) or reference is None or item.right is None or item.left is None:
            return reference
        if reference.shape == item.right.shape == item.left.shape:
            extreme = np.abs(item.right) == np.finfo(self.dtype).max
            if extreme.any():
                reference = np.where(extreme & (item.left == item.right), item.right, reference)
        return reference

    def _with_dtypes(self, row: Row, item: Item) -> Row:
        """The row, failing if a tensor was computed in another dtype than the comparison's."""
        names = [*item.dtypes]
        if "number" not in names:
            names += [str(a.dtype) for a in (item.left, item.right) if _is_float(a)]  # type: ignore[union-attr]
        if set(names) <= {str(self.dtype), "number"}:
            return row
        names = list(dict.fromkeys(names))
        note = f"computed in {' and '.join(names)}, not {self.dtype}"
        return replace(row, error=math.inf, note=note)


def _is_float(array: np.ndarray | None) -> bool:
    return array is not None and is_float(array)
