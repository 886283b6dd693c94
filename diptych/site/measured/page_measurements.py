"""The measurements that a page shows: the JSON of its gutter and of its values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diptych.parity.reports.report import Report
from diptych.site.measured.gutter import GutterRow, VariantRows, number

DTYPES = ("float64", "float32")
MOST_ROWS = 10
"""Rows of a report that one method shows; of more, the ones closest to their bounds."""
ENOUGH = 0.85
"""Share of the joined groups of the richest variant with which the first one is shown."""


@dataclass(frozen=True)
class PageMeasurements:
    """The measurements of one page."""

    json: dict[str, Any]
    """what static/gutter.js reads"""
    values: dict[str, Any] | None = None
    """what static/values.js reads; None if no run of the page computes values"""
    problems: tuple[str, ...] = ()
    """runs of this page that could not be traced"""

    @property
    def ok(self) -> bool:
        """True if every variant of the page agrees in every dtype."""
        checks = [check for v in self.json["verdicts"].values() for check in v.values()]
        return not self.problems and all(check[0] == "agrees" for check in checks)

    @property
    def verdict(self) -> str:
        """ "agrees", or the verdict of the first variant that does not."""
        for checks in self.json["verdicts"].values():
            for check in checks.values():
                if check[0] != "agrees":
                    return str(check[0])
        return "agrees"

    @property
    def worst(self) -> float | None:
        """The largest error in float64 of the page's rows."""
        errors = [
            float(row[3])
            for places in self.json["rows"].values()
            for rows in places.values()
            for row in rows
            if row[3] is not None
        ]
        return max(errors, default=None)


def page_json(
    slug: str,
    variants: Sequence[str],
    results: Mapping[tuple[str, str], VariantRows],
    definitions: Iterable[str],
) -> dict[str, Any]:
    """The JSON of a page's gutter."""
    reached = {
        name
        for variant in variants
        for dtype in DTYPES
        if (result := results.get((variant, dtype))) is not None
        for name in result.reached.get(slug, ())
    }
    return {
        "variants": list(variants),
        "rows": {variant: _rows(slug, variant, results) for variant in variants},
        "verdicts": {
            variant: {
                dtype: verdict(results[variant, dtype].report)
                for dtype in DTYPES
                if (variant, dtype) in results
            }
            for variant in variants
        },
        "problems": {name: problem for name in variants if (problem := _problem(name, results))},
        "not_reached": [name for name in definitions if name not in reached],
    }


def _problem(name: str, results: Mapping[tuple[str, str], VariantRows]) -> str:
    """The reason why a run could not be traced, or ""."""
    problems = (results[name, d].problem for d in DTYPES if (name, d) in results)
    return next(filter(None, problems), "")


def verdict(report: Report) -> list[Any]:
    """[ "agrees" or the verdict, tensors, worst error, its tensor, the reproducer ]"""
    worst = report.worst if report.rows else None
    return [
        "agrees" if report.ok else report.verdict,
        len(report.rows),
        number(worst.error if worst else None),
        worst.name if worst else "",
        report.reproducer,
    ]


def _rows(
    slug: str, variant: str, results: Mapping[tuple[str, str], VariantRows]
) -> dict[str, list[list[Any]]]:
    """The rows of one variant by place, both dtypes side by side."""
    by_dtype = [
        results[variant, dtype].pages.get(slug, {}) if (variant, dtype) in results else {}
        for dtype in DTYPES
    ]
    places = dict.fromkeys(place for pages in by_dtype for place in pages)
    merged = {place: _merged(*(pages.get(place, []) for pages in by_dtype)) for place in places}
    return {
        place: rows if place.rpartition(".")[2].isdigit() else _closest(rows)
        for place, rows in merged.items()
    }


def _closest(rows: list[list[Any]]) -> list[list[Any]]:
    """The rows of a method that are closest to their bounds in either dtype, in their order."""

    def excess(row: list[Any]) -> float:
        pairs = [(row[3], row[4]), (row[5], row[6])]
        return max((_excess(float(e), b) for e, b in pairs if e is not None), default=-1.0)

    order = sorted(range(len(rows)), key=lambda n: (-excess(rows[n]), n))
    return [rows[n] for n in sorted(order[:MOST_ROWS])]


def _excess(error: float, bound: float) -> float:
    if math.isnan(error):
        return math.inf
    return error / bound if bound else error


def _merged(first: list[GutterRow], second: list[GutterRow]) -> list[list[Any]]:
    ours, theirs = ({(row.name, row.kind): row for row in rows} for rows in (first, second))
    result = []
    for key in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(key), theirs.get(key)
        row = a or b
        assert row is not None
        cells = [
            number(value)
            for r in (a, b)
            for value in ((r.error, r.bound) if r is not None else (None, None))
        ]
        count = [row.count] if row.count > 1 or row.evaluations else []
        count += [row.evaluations] if row.evaluations else []
        result.append([row.name, row.kind, list(row.shape), *cells, *count])
    return result


@dataclass
class Choice:
    """Which variants a page shows: all of a model, or those that reach most of a building block."""

    results: Mapping[tuple[str, str], VariantRows]
    names: Sequence[str] = field(default_factory=list)

    def of_model(self, model: str) -> list[str]:
        """All variants of a model in the order of the registry."""
        return [name for name in self.names if name.partition("[")[0] == model]

    def of_block(self, slug: str, most: int) -> list[str]:
        """Variants that reach a file: each one reaches or joins something that no other before
        it does, the first one is the simplest of those that reach the most."""
        places = {name: self._places(name, slug) for name in self.names}
        chosen: list[str] = []
        known: set[str] = set()
        while len(chosen) < most:
            best = max(self.names, key=lambda name: len(places[name] - known), default=None)
            if best is None or not places[best] - known:
                break
            chosen.append(best)
            known |= places[best]
        return chosen

    def richest(self, slug: str, variants: Sequence[str]) -> str | None:
        """The variant whose run shows most of a page: the first one, unless another one joins
        many more of its groups."""
        counts = {name: len(self._joined(name, slug)) for name in variants}
        best = max(variants, key=lambda name: counts[name], default=None)
        if best is None or not self._pages(best, slug):
            return None
        return variants[0] if counts[variants[0]] >= ENOUGH * counts[best] else best

    def _joined(self, name: str, slug: str) -> set[str]:
        """The groups of a page in which a variant has values of both panels."""
        pages = self._pages(name, slug)
        return {p for p, rows in pages.items() if any(r.error is not None for r in rows)}

    def _pages(self, name: str, slug: str) -> dict[str, list[GutterRow]]:
        result = self.results.get((name, "float64"))
        return {} if result is None else result.pages.get(slug, {})

    def _places(self, name: str, slug: str) -> set[str]:
        return set(self._pages(name, slug)) | {f"{p} joined" for p in self._joined(name, slug)}
