"""Run the sweeps, each backend in a process of its own, and fit their exponents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from diptych import pairs
from diptych.bench.costs import cost
from diptych.bench.protocol import WorkerProcess
from diptych.bench.scaling.fits import Fit, fit
from diptych.bench.scaling.sweeps import STEP, SWEEPS, Sweep

ROUNDS, QUICK_ROUNDS = 3, 2
BACKENDS = ("numpy", "torch")

Progress = Callable[[str, int, int], None]
"""A function (what is timed, sweeps done, sweeps in all)"""


@dataclass(frozen=True)
class Row:
    """The times of one sweep by one backend, and the exponent of their growth."""

    model: str
    axis: str
    operation: str
    backend: str
    dtype: str
    values: Sequence[int]
    ms: Sequence[float]
    fit: Fit
    flops_exponent: float | None
    """The exponent of the FLOPs over the values of the fit; None where they are not counted."""


def run(
    sweeps: Sequence[Sweep] = SWEEPS,
    *,
    backends: Sequence[str] = BACKENDS,
    dtypes: Sequence[str] = ("float32",),
    threads: int = 1,
    quick: bool = False,
    progress: Progress | None = None,
) -> list[Row]:
    """Time every sweep with every backend of diptych.bench and every dtype.

    `progress` is called before each. The quick form has three values a sweep.
    Raises: WorkerError with the reason of a process that failed.
    """
    rows: list[Row] = []
    total = len(backends) * len(dtypes) * len(sweeps)
    for backend in backends:
        with closing(WorkerProcess(threads)) as worker:
            for dtype in dtypes:
                for sweep in sweeps:
                    if progress:
                        progress(f"{sweep.name}, {backend} {dtype}", len(rows), total)
                    rows.append(_row(worker, sweep, dtype, backend, quick))
    return rows


def _row(worker: WorkerProcess, sweep: Sweep, dtype: str, backend: str, quick: bool) -> Row:
    values = sweep.quick().values if quick else sweep.values
    rounds = QUICK_ROUNDS if quick else ROUNDS
    request = {"values": values, "dtype": dtype, "backend": backend, "rounds": rounds}
    seconds = worker.ask(do="sweep", sweep=SWEEPS.index(sweep), **request)["seconds"]
    ms = [1e3 * number for number in seconds]
    growth, flops = fit(values, seconds), _flops_exponent(sweep, values)
    return Row(sweep.model, sweep.axis, sweep.operation, backend, dtype, values, ms, growth, flops)


def _flops_exponent(sweep: Sweep, values: Sequence[int]) -> float | None:
    """The exponent of the FLOPs of a training step over the same values."""
    if sweep.operation != STEP:
        return None
    pair, points = pairs.get(sweep.model), [sweep.point(value) for value in values]
    flops = [cost(pair, p.config, p.batch_size, "float32", STEP).flops for p in points]
    return fit(values, flops).exponent
