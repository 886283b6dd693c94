"""Measure all pages: parity runs of every variant in both dtypes, and their traces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from diptych import pairs
from diptych.parity.reports.report import Report
from diptych.site.measured.extra_runs import EXTRAS, SCORE, SCORE_PAIR
from diptych.site.measured.gutter import VariantRows
from diptych.site.measured.jobs import FileKey, Job, StepsJob, file_keys, measure, record_steps
from diptych.site.measured.page_measurements import (
    DTYPES,
    Choice,
    PageMeasurements,
    page_json,
)
from diptych.site.measured.places import Places
from diptych.site.sources.page import SourcePage
from diptych.workers import run_jobs

WORKERS = 2
MOST_VARIANTS = 8
MODEL_SIZE, BLOCK_SIZE = (60, 256), (24, 64)
"""Steps, and numbers of an array, that the values of a page show at most."""


@dataclass(frozen=True)
class Measurements:
    """The measurements of all pages, and the reports behind them."""

    pages: dict[str, PageMeasurements]
    reports: dict[str, Report]
    """float64, by the name of the pair or variant"""
    reports32: dict[str, Report]
    """the same in float32"""
    seconds: float = 0.0
    problems: tuple[str, ...] = field(default=())
    """runs that could not be traced, each with its reason"""

    def page(self, slug: str) -> PageMeasurements | None:
        """The measurements of a page, None if no run reaches its file."""
        return self.pages.get(slug)

    @property
    def ok(self) -> bool:
        """True if every pair agrees in both dtypes."""
        both = [*self.reports.values(), *self.reports32.values()]
        return not self.problems and all(report.ok for report in both)


def measure_pages(
    pages: list[SourcePage],
    console: Console,
    reports: Sequence[Report] | None = None,
    *,
    names: Sequence[str] | None = None,
    workers: int = WORKERS,
) -> Measurements:
    """Measure every page. `reports` that exist already are not made again.

    `names` are the variants to run, by default all of the registry and the random streams.
    """
    start = time.perf_counter()
    names = [*pairs.names(), *EXTRAS] if names is None else list(names)
    existing = {(r.name, r.dtype): r for r in reports or () if r.device == "cpu"}
    places, files = Places(pages), file_keys(pages)
    jobs = [
        Job(name, dtype, places, files, existing.get((name, dtype)))
        for name in names
        for dtype in DTYPES
    ]
    results: dict[tuple[str, str], VariantRows] = {}
    with console.status("measuring") as status:
        for job, result in run_jobs(measure, jobs, workers):
            results[job.name, job.dtype] = result
            status.update(f"measuring: {len(results)} of {len(jobs)} runs")
        choice = Choice(results, names)
        variants = {page.file.slug: _variants(page, choice) for page in pages}
        status.update("recording values")
        values = _values(pages, variants, choice, places, files, workers)
    measured = {}
    for page in pages:
        slug = page.file.slug
        definitions = [d.name for d in page.walk() if d.kind in ("method", "function")]
        if variants[slug]:
            measured[slug] = PageMeasurements(
                page_json(slug, variants[slug], results, definitions),
                values.get(slug),
                _problems(results, variants[slug]),
            )
    seconds = time.perf_counter() - start
    console.print(f"Measured {len(jobs)} runs in {seconds:.0f} s.", highlight=False)
    first, second = ({n: results[n, dtype].report for n in names} for dtype in DTYPES)
    return Measurements(measured, first, second, seconds, _problems(results, names))


def _problems(results: dict[tuple[str, str], VariantRows], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{name}, {dtype}: {problem}"
        for name in names
        for dtype in DTYPES
        if (problem := results[name, dtype].problem)
    )


def _variants(page: SourcePage, choice: Choice) -> list[str]:
    return choice.of_model(page.file.stem) or choice.of_block(page.file.slug, MOST_VARIANTS)


def _values(
    pages: list[SourcePage],
    variants: dict[str, list[str]],
    choice: Choice,
    places: Places,
    files: tuple[FileKey, ...],
    workers: int,
) -> dict[str, dict[str, Any]]:
    """The values of every page, from the variant of its own that joins the most."""
    stems: dict[str, dict[str, tuple[int, int]]] = {}
    for page in pages:
        slug, stem = page.file.slug, page.file.stem
        name = choice.richest(slug, variants[slug])
        if name is not None:
            size = MODEL_SIZE if stem in pairs.PAIRS else BLOCK_SIZE
            stems.setdefault(name, {})[stem] = size
    jobs = [StepsJob(name, places, files, sizes) for name, sizes in stems.items()]
    slugs = {page.file.stem: page.file.slug for page in pages}
    return {
        slugs[stem]: {"about": f"{job.name}, {_about(job.name)}float64", "steps": steps}
        | {"variant": job.name}
        for job, by_stem in run_jobs(record_steps, jobs, workers)
        for stem, steps in by_stem.items()
        if steps
    }


def _about(name: str) -> str:
    """The sizes of a variant in a few words."""
    _, config = pairs.find(SCORE_PAIR if name == SCORE else name)
    fields = vars(config)
    sizes = [f"{field} = {value}" for field, value in fields.items() if type(value) is int]
    return ", ".join(sizes[:6]) + ", batch 7, " if sizes else ""
