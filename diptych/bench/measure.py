"""Measure the series of a benchmark: compare, time in turn, and cut where a step takes too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diptych.bench import drawing, steps
from diptych.bench.backends import BACKENDS, names_for
from diptych.bench.case import Case, configuration
from diptych.bench.plain_steps import NAME as PLAIN
from diptych.bench.points import Point, Series, Settings, total_memory
from diptych.bench.protocol import WorkerError, WorkerProcess
from diptych.bench.reach import Cost, Reach
from diptych.bench.shares import PROFILED, Peaks, profile
from diptych.bench.turns import Timing, interleaved, ratio
from diptych.bench.workloads import takes

Row = dict[str, Any]
BASE = "torch"
"""The backend that ratios refer to: eager torch on the CPU."""
DIFFER = "tensors differ from the left panel"
"""The end of the reason for which a backend that computes something else is left out."""


class DisagreementError(ValueError):
    """A backend computed something else than the left panel, so nothing of it was timed.

    `summary` says how many tensors differ; the message names the case and the first of them.
    """

    def __init__(self, case: str, summary: str, tensors: list[str]) -> None:
        self.summary = summary
        lines = f"{case}: {summary}, so nothing is timed", *tensors[:5]
        super().__init__("\n  ".join(lines))


@dataclass
class Measured:
    """All that was measured so far."""

    speed: list[Row] = field(default_factory=list)
    compared: list[Row] = field(default_factory=list)
    cut: list[Row] = field(default_factory=list)
    peaks: list[Row] = field(default_factory=list)
    top: list[Row] = field(default_factory=list)


Progress = Callable[[str, int], None]
"""Takes what is being done, and how many measurements were finished since the last call."""


class Measurement:
    """The workers of a benchmark, and what they have measured."""

    def __init__(self, settings: Settings, progress: Progress, result: Measured) -> None:
        self.settings, self.progress, self.result = settings, progress, result
        self._names = names_for(settings.device, compiled=settings.compiled, plain=settings.plain)
        self._memory = total_memory()
        self._peaks = Peaks(settings.threads, quick=settings.quick)

    def run(self, series: list[Series]) -> None:
        """Measure every series and add to `result`. Raises: DisagreementError, WorkerError."""
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(TemporaryDirectory()))
            self._comparer = self._start(stack)
            for dtype in self.settings.dtypes:
                for device in dict.fromkeys(BACKENDS[name].device for name in self._names):
                    self.progress(f"peak rates of the {device}, {dtype}", 0)
                    self._peaks.of(device, dtype)
            self.result.peaks += self._peaks.rows()
            for one in series:
                self._run_series(one)

    def _start(self, stack: ExitStack) -> WorkerProcess:
        worker = WorkerProcess(self.settings.threads)
        stack.callback(worker.kill)
        return worker

    def _run_series(self, series: Series) -> None:
        first = series.points[0].case
        with ExitStack() as stack:
            names = [name for name in self._names if BACKENDS[name].takes(first)]
            self.progress(f"{series.model} {series.dtype}: starting", 0)
            workers = {name: self._start(stack) for name in names}
            reach = Reach(self.settings.limits, self._memory, names)
            for point in series.points:
                active = {n: workers[n] for n in names if reach.allows(n, point)}
                if active:
                    active = self._build(point, active, reach)
                if active:
                    self._time(point, active, reach)
                else:
                    self.progress("", len(point.operations))
                for name, reason in reach.reasons.items() if not point.is_preset else ():
                    row = {"backend": name, "reason": reason}
                    self.result.cut.append(_row(point.case) | row)

    def _build(
        self, point: Point, workers: dict[str, WorkerProcess], reach: Reach
    ) -> dict[str, WorkerProcess]:
        """Build the case in every worker and compare; returns the workers to be timed.

        A backend that fails at a size of the sweep is cut there, as when the memory is full. So is
        one that differs there in float32, and the command ends with status 1 once the rest is
        timed.
        """
        self.progress(f"{point.case.name}: comparing", 0)
        case = _as_list(point.case)
        for name, worker in workers.items():
            worker.send(do="build", case=case, backend=name)
        files: dict[str, str] = {}
        for name, worker in workers.items():
            try:
                worker.receive()
                start = time.perf_counter()
                file = str(self._folder / f"{name.replace(' ', '_')}.npz")
                worker.ask(do="values", file=file)
                files[name] = file
                if BACKENDS[name].compiled:
                    reach.compilation[name] = time.perf_counter() - start
            except WorkerError as error:
                if point.is_preset:
                    raise WorkerError(f"{name}: {point.case.name}: {error}") from None
                reach.reasons[name] = str(error)
        strict = point.is_preset or point.case.dtype == "float64"
        differing = self._compare(point, files)
        for name, difference in differing.items():
            if strict:
                raise difference
            reach.reasons[name] = difference.summary
        return {name: workers[name] for name in files if name not in differing}

    def _compare(
        self, point: Point, files: dict[str, str], part: str = ""
    ) -> dict[str, DisagreementError]:
        """Compare the values of all backends with the left panel; returns those that differ."""
        devices = {name: BACKENDS[name].device for name in files}
        answer = self._comparer.ask(
            do="compare", case=_as_list(point.case), files=files, devices=devices, part=part
        )
        for file in files.values():
            Path(file).unlink()
        differing = {}
        for name, outcome in answer["backends"].items():
            failures = outcome.pop("failures")
            if not outcome.pop("ok"):
                of = f", {part}" if part else ""
                summary = f"{len(failures)} of {outcome['tensors']} {DIFFER}"
                case = f"{name}, {point.case.name}{of}"
                differing[name] = DisagreementError(case, summary, failures)
                continue
            row = {"operation": part or "step", "backend": name} | outcome
            self.result.compared.append(_row(point.case) | row)
        return differing

    def _time(self, point: Point, workers: dict[str, WorkerProcess], reach: Reach) -> None:
        limits = self.settings.limits
        for operation in point.operations:
            able = {n: w for n, w in workers.items() if takes(point.case, operation, n)}
            if not able:  # a part that the model of this config has not
                self.progress("", 1)
                continue
            if operation not in steps.OPERATIONS:
                self._compare_part(point, able, operation)
            self.progress(f"{point.case.name}: {operation}", 0)
            asks = {n: partial(w.ask, do="time", operation=operation) for n, w in able.items()}
            timings = interleaved(asks, self.settings.rounds, limits.budget, limits.least_rounds)
            memory = {name: worker.ask(do="memory") for name, worker in able.items()}
            for name in able:
                row = _measured(point, operation, name, timings, memory[name])
                seconds = timings[name].median
                row |= self._peaks.distance(point.case, operation, name, seconds)
                self.result.speed.append(row)
            if operation == "step":
                for name in able:
                    used = memory[name]["device"] or memory[name]["host"] or 0
                    cost = Cost(point.case.batch_size, timings[name].median, used)
                    reach.costs[name].append(cost)
                self._profile(point, able)
            self.progress("", 1)

    def _profile(self, point: Point, workers: dict[str, WorkerProcess]) -> None:
        """Profile the step of the panels at the model's own batch size."""
        if self.settings.quick or not point.is_preset:
            return
        for name in PROFILED:
            if name in workers:
                self.progress(f"{point.case.name}: profiling {name}", 0)
                rows = profile(workers[name], "step")
                named = [_row(point.case) | {"backend": name} | row for row in rows]
                self.result.top += named

    def _compare_part(self, point: Point, workers: dict[str, WorkerProcess], part: str) -> None:
        """Compare a part of the panels; plain torch was compared as a whole."""
        if part in drawing.DRAWS and point.case.dtype != "float64":
            return  # one draw in a million differs, and all pixels after it
        files = {}
        for name, worker in workers.items():
            if name == PLAIN:
                continue
            files[name] = str(self._folder / f"{name.replace(' ', '_')}.npz")
            worker.ask(do="values", file=files[name], operation=part)
        for error in self._compare(point, files, part).values():
            raise error


def _measured(
    point: Point, operation: str, backend: str, timings: dict[str, Timing], memory: Row
) -> Row:
    """One row of the metric "speed"; see docs/speed.md for its keys."""
    timing, case = timings[backend], point.case
    is_whole = operation in steps.OPERATIONS
    count, unit = (case.words, "words") if case.words else (case.batch_size, "examples")
    return _row(case) | {
        "operation": operation,
        "backend": backend,
        "preset": point.is_preset,
        "ms": 1e3 * timing.median,
        "ms_iqr": 1e3 * timing.interquartile,
        "rounds": len(timing.seconds),
        "calls": timing.calls,
        "ratio": ratio(timing, timings[BASE]) if BASE in timings else None,
        "per_second": count / timing.median if is_whole else None,
        "unit": unit,
        "host_mib": _mib(memory["host"]),
        "device_mib": _mib(memory["device"]),
    }


def _row(case: Case) -> Row:
    return {
        "model": case.model,
        "config": configuration(case.size),
        "batch": case.batch_size,
        "dtype": case.dtype,
    }


def _as_list(case: Case) -> list[Any]:
    return [case.model, case.size, case.batch_size, case.dtype]


def _mib(count: float | None) -> float | None:
    return None if count is None else count / 2**20
