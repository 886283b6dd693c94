"""The work of one worker process: the report and the traced run of a variant in one dtype."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diptych.arrays import leaves
from diptych.commands.check import check_pair
from diptych.parity import streams
from diptych.parity.registered import prepare
from diptych.parity.reports.report import Report
from diptych.site.measured import extra_runs
from diptych.site.measured.comparing import ValueComparison
from diptych.site.measured.gutter import VariantRows, gutter_of_report, gutter_of_values
from diptych.site.measured.joining import join
from diptych.site.measured.line_trace import LineTrace
from diptych.site.measured.panel_files import PanelFile, read_panel_file
from diptych.site.measured.places import Places
from diptych.site.measured.report_rows import placed_rows
from diptych.site.measured.traced_run import TracedRun, trace_pair
from diptych.site.measured.values_of_a_run import noise_steps, steps
from diptych.site.sources.page import SideName, SourcePage

FileKey = tuple[Path, str, SideName]


@dataclass(frozen=True)
class Job:
    """A variant to measure in one dtype. `report` is None if it has not been compared yet."""

    name: str
    dtype: str
    places: Places = field(repr=False)
    files: tuple[FileKey, ...] = field(repr=False)
    report: Report | None = field(default=None, repr=False)


@dataclass(frozen=True)
class StepsJob:
    """Pages whose values are to be recorded from one variant: file -> (steps, numbers) at most."""

    name: str
    places: Places = field(repr=False)
    files: tuple[FileKey, ...] = field(repr=False)
    sizes: Mapping[str, tuple[int, int]] = field(repr=False)


def file_keys(pages: list[SourcePage]) -> tuple[FileKey, ...]:
    """The panel files of all pages."""
    sides: tuple[SideName, ...] = ("left", "right")
    return tuple(
        (path, page.file.stem, side)
        for page in pages
        for side in sides
        if (path := getattr(page.file, side)) is not None
    )


def measure(job: Job) -> VariantRows:
    """Compare a variant, trace it, and return its rows for every page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are not finite, which are compared
        return _EXTRA[job.name](job) if job.name in _EXTRA else _measure_pair(job)


def _measure_pair(job: Job) -> VariantRows:
    report = job.report or check_pair(job.name, job.dtype, "cpu")
    result = VariantRows(job.name, job.dtype, report)
    try:
        model = prepare(job.name, job.dtype).panels.left
        gutter_of_report(result, placed_rows(report, model), job.places)
        _add_trace(result, trace_pair(job.name, job.dtype, _files(job.files)), job.places)
    except Exception as error:
        result.problem = f"{type(error).__name__}: {error}"
    return result


def _measure_streams(job: Job) -> VariantRows:
    report = job.report or check_pair(job.name, job.dtype, "cpu")
    result = VariantRows(job.name, job.dtype, report)
    gutter_of_report(result, extra_runs.streams_rows(report), job.places)
    return result


def _measure_optimisers(job: Job) -> VariantRows:
    with LineTrace(_files(job.files)) as trace:
        rows = list(extra_runs.optimiser_rows(job.dtype))
    result = VariantRows(job.name, job.dtype, extra_runs.optimisers_report(job.dtype, rows))
    gutter_of_report(result, rows, job.places)
    for frame in trace.frames:
        slug = job.places.slugs[frame.stem]
        result.reached.setdefault(slug, set()).add(frame.function.definition)
    return result


def _measure_score(job: Job) -> VariantRows:
    run = trace_pair(extra_runs.SCORE_PAIR, job.dtype, _files(job.files), extra_runs.SCORE_LOSSES)
    result = VariantRows(job.name, job.dtype, extra_runs.score_report(run))
    _add_trace(result, run, job.places)
    return result


def _add_trace(result: VariantRows, run: TracedRun, places: Places) -> None:
    """Add the rows of a traced run, and free it."""
    result.problem = run.problem
    for frame in run.trace.frames:  # also those that assign no array
        slug = places.slugs[frame.stem]
        result.reached.setdefault(slug, set()).add(frame.function.definition)
    values = join(run, places, with_lone_values=False)
    comparing = ValueComparison(run, values)
    run.close()  # before the further runs, which need as much memory
    compared = {value.key: row for value, row in comparing.rows(values)}
    gutter_of_values(result, values, compared, places)


_EXTRA = {
    streams.NAME: _measure_streams,
    extra_runs.OPTIMISERS: _measure_optimisers,
    extra_runs.SCORE: _measure_score,
}


def record_steps(job: StepsJob) -> dict[str, list[dict[str, Any]]]:
    """The steps of a variant's run in float64, by file; none if it raises."""
    losses = extra_runs.SCORE_LOSSES if job.name == extra_runs.SCORE else None
    name = extra_runs.SCORE_PAIR if losses is not None else job.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run = trace_pair(name, "float64", _files(job.files), losses)
        except Exception:  # the problem is that of `measure`
            return {}
        values = join(run, job.places)
    noise = {n.lstrip("."): a for n, a in leaves(run.left.inputs[1]) if isinstance(a, np.ndarray)}
    result = {
        stem: noise_steps(values, stem, noise, most_numbers)
        + steps(values, stem, most_steps, most_numbers)
        for stem, (most_steps, most_numbers) in job.sizes.items()
    }
    run.close()
    return result


@functools.cache
def _files(keys: tuple[FileKey, ...]) -> dict[str, PanelFile]:
    return {str(path): read_panel_file(path, stem, side) for path, stem, side in keys}
