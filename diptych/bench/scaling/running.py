"""Run the sweeps, each by each backend in a process of its own, and fit their exponents."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diptych import pairs
from diptych.bench.costs import cost
from diptych.bench.scaling.fits import Fit, fit
from diptych.bench.scaling.operations import BACKENDS
from diptych.bench.scaling.processes import environment
from diptych.bench.scaling.sweeps import STEP, SWEEPS, Sweep

ROUNDS, QUICK_ROUNDS = 5, 2

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
    """Time every sweep with every backend and dtype on the CPU.

    `progress` is called before each. The quick form has three values a sweep and takes under a
    minute. Raises: RuntimeError with the last lines of a process that failed.
    """
    jobs = [(s, d, b) for s in sweeps for d in dtypes for b in backends]
    rows = []
    for i, (sweep, dtype, backend) in enumerate(jobs):
        if progress:
            progress(f"{sweep.name}, {backend} {dtype}", i, len(jobs))
        rows.append(_row(sweep, dtype, backend, threads, quick))
    return rows


def _row(sweep: Sweep, dtype: str, backend: str, threads: int, quick: bool) -> Row:
    values = sweep.quick().values if quick else sweep.values
    request = {"sweep": SWEEPS.index(sweep), "values": values, "dtype": dtype, "backend": backend}
    request["rounds"] = QUICK_ROUNDS if quick else ROUNDS
    result = subprocess.run(
        [sys.executable, "-m", "diptych.bench.scaling.worker"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=environment(threads),
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{sweep.name}, {backend} {dtype}: {result.stderr[-500:]}")
    seconds = json.loads(result.stdout)
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
