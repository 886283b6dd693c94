"""The numbers in the gutter of a page: of each statement, tensor and method."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from diptych.parity.measures.rows import Row
from diptych.parity.reports.report import Report
from diptych.site.measured.joining import JoinedValue
from diptych.site.measured.places import Places
from diptych.site.measured.report_rows import PlacedRow, kind
from diptych.site.measured.traced_run import VALUES


@dataclass
class GutterRow:
    """One tensor in the gutter, the worst of all its executions."""

    name: str
    kind: str
    shape: tuple[int, ...]
    error: float | None = None
    """None if the right panel has no such tensor"""
    bound: float | None = None
    count: int = 1
    """how often it was computed"""
    evaluations: int = 0
    """how many of these computations were in evaluation mode"""

    def worse(self, other: GutterRow) -> GutterRow:
        """This row or another execution of it, whichever has the larger error."""
        worst = max((self, other), key=lambda row: row.excess)
        count, evaluations = self.count + other.count, self.evaluations + other.evaluations
        return replace(worst, count=count, evaluations=evaluations)

    @property
    def excess(self) -> float:
        """The error relative to its bound; -1 without a twin."""
        if self.error is None or self.bound is None:
            return -1.0
        return self.error / self.bound if self.bound else self.error


Rows = dict[str, list[GutterRow]]
"""Rows by the id of their group, or by the name of their definition"""


@dataclass
class VariantRows:
    """The measurements of one run of a variant in one dtype, by page."""

    name: str
    dtype: str
    report: Report
    pages: dict[str, Rows] = field(default_factory=dict)
    reached: dict[str, set[str]] = field(default_factory=dict)
    """names of the definitions that the run executed, by page"""
    problem: str = ""
    """the reason why it could not be traced"""

    def rows(self, slug: str, place: str) -> list[GutterRow]:
        """The rows of a group or a definition, to be added to."""
        return self.pages.setdefault(slug, {}).setdefault(place, [])


def gutter_of_values(
    result: VariantRows,
    values: Iterable[JoinedValue],
    compared: dict[str, Row],
    places: Places,
) -> None:
    """Add the rows of all statements. `compared` has the comparison of a value by its key."""
    index: dict[tuple[str, str, str, str], int] = {}
    for value in values:
        slug = places.slugs[value.stem]
        name = f"{value.argument}, unchanged" if value.argument else value.name
        row = GutterRow(name, value.kind, value.array.shape)
        row.evaluations = int(value.phase.startswith(VALUES))
        comparison = compared.get(value.key)
        if comparison is not None:
            row.error, row.bound = comparison.error, comparison.bound
        rows = result.rows(slug, value.place.group)
        place = slug, value.place.group, name, value.kind
        if place in index:
            rows[index[place]] = rows[index[place]].worse(row)
        else:
            index[place] = len(rows)
            rows.append(row)


def gutter_of_report(result: VariantRows, placed: list[PlacedRow], places: Places) -> None:
    """Add the rows of the report to the methods that compute them."""
    for item in placed:
        row = item.row
        slug = places.slugs.get(item.stem)
        if slug is not None:
            result.rows(slug, item.definition).append(
                GutterRow(row.name, kind(row), row.shape, row.error, row.bound, 1)
            )


def number(value: float | None, digits: int = 2) -> Any:
    """A number for JSON: few digits, and inf and NaN as strings."""
    if value is None:
        return None
    if not math.isfinite(value):
        return str(value)
    return float(f"{value:.{digits - 1}e}") if value else 0
