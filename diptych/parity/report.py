"""The outcome of a comparison: one row for each tensor, in the order of computation."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape

from diptych.display import Table
from diptych.parity.rows import PROPAGATED, ROOT_CAUSE, Row


@dataclass(frozen=True)
class Report:
    """All rows of one pair. `str(report)` is a table, below the diagnosis if a row fails."""

    name: str
    dtype: str
    device: str
    rows: tuple[Row, ...]
    masks_equal: bool | None = None
    """True if all boolean and integer arrays of noise and outputs are equal; None without any"""
    problem: str = ""
    """The reason why the rows give no verdict, such as a model that is not deterministic"""
    not_compared: tuple[str, ...] = ()
    """Tensors and modules that were not compared, each with its reason"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options that were used, ready for JSON"""
    key: str = ""
    """The random key of the comparison"""
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """File and line of the class of each module, left and right, by module path"""
    runs: Mapping[str, int] = field(default_factory=dict)
    """How often each model was run"""
    reproducer: str = ""
    """A command that repeats the comparison"""

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
    def verdict(self) -> str:
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
            sink.write(f"{self.verdict}\n")
        Console(file=sink, width=140, color_system=None).print(self.table())
        return sink.getvalue()


def _to_json_number(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)
