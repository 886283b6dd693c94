"""The outcome of a comparison: its rows in the order of computation, and how they were computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diptych.parity.measures.rows import ROOT_CAUSE, Row


@dataclass(frozen=True)
class Outcome:
    """The data of a report, and the questions that every form of the report asks of them."""

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
        """True if there was no problem, a tensor besides the parameters was compared, and every
        row is within its bound."""
        return not self.problem and not self.is_empty and all(row.ok for row in self.rows)

    @property
    def result(self) -> str:
        """ "agrees", "diverges" if a row is off, or "fails" if the rows give no verdict."""
        if self.ok:
            return "agrees"
        return "fails" if self.problem or not self.failures else "diverges"

    @property
    def is_empty(self) -> bool:
        """True if nothing besides parameters was compared."""
        return all(row.kind == "parameter" for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row with the largest error relative to its bound."""
        return max(self.rows, key=lambda row: row.excess)

    @property
    def failures(self) -> tuple[Row, ...]:
        """The failing rows, in the order of computation."""
        return tuple(row for row in self.rows if not row.ok)

    @property
    def first_divergence(self) -> Row | None:
        """The first failing row, in the order of computation; None if all rows agree."""
        return next(iter(self.failures), None)

    @property
    def root_causes(self) -> tuple[Row, ...]:
        """The failing rows whose own computation differs, in the order of computation."""
        return tuple(row for row in self.failures if row.origin == ROOT_CAUSE)

    @property
    def root_cause(self) -> Row | None:
        """The first failing row whose own computation differs.

        It may follow propagated rows: an error can enter between two traced methods and show in
        their inputs first. None if no traced method is at fault.
        """
        return next(iter(self.root_causes), None)

    @property
    def blamed(self) -> Row | None:
        """The row that the verdict names: the root cause, else the first divergence."""
        return self.root_cause or self.first_divergence

    @property
    def is_arbitrated(self) -> bool:
        """True if both panels were compared with the left panel in float64."""
        return self.dtype != "float64" or self.device != "cpu"

    def module_of(self, row: Row) -> str:
        """The path of the module to which a row belongs; "" is the root."""
        if row.module is not None:
            return row.module
        owned = row.kind in ("parameter", "parameter gradient", "buffer")
        return row.name.rpartition(".")[0] if owned else ""

    def sources_of(self, row: Row) -> tuple[str, str]:
        """File and line of the class of the row's module, left and right; "" if unknown."""
        return self.sources.get(self.module_of(row), ("", ""))
