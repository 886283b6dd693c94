"""The operation of a sweep at one of its points, as a callable of one backend, and its times."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from diptych.arrays import to_tensors
from diptych.bench import clock
from diptych.bench.backends import BACKENDS
from diptych.bench.case import KEY, Case
from diptych.bench.scaling.sweeps import LOG_WEIGHT, SWEEPS, Sweep

TURN, CALLS = 0.03, 20
"""Seconds that a turn of one value should take, and its calls at most."""


@dataclass(frozen=True)
class ScaledCase(Case):
    """A case of any config, not only of one that has a name in `Pair.sizes`."""

    scaled: Any = None
    draws: int = 1

    @property
    def config(self) -> Any:
        return self.scaled


def times(sweep: int, values: Sequence[int], dtype: str, backend: str, rounds: int) -> list[float]:
    """Median seconds of each value of SWEEPS[sweep], over the rounds.

    The values are timed in turn, round by round, so that a slow moment of the machine does not bend
    the fit.
    """
    runs = [build(SWEEPS[sweep], value, dtype, backend) for value in values]
    single = [_turn(run, 1) for run in runs]
    results: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, seconds, result in zip(runs, single, results, strict=True):
            result.append(_turn(run, max(1, min(CALLS, round(TURN / seconds)))))
    return [statistics.median(result) for result in results]


def _turn(run: Callable[[], Any], calls: int) -> float:
    """Median seconds of `calls` calls, after one that is not counted."""
    run()
    return statistics.median(clock.seconds(run) for _ in range(calls))


def build(sweep: Sweep, value: int, dtype: str, backend: str) -> Callable[[], Any]:
    """The operation of a sweep by one backend: a training step, or the importance weights."""
    config, batch_size, draws = sweep.point(value)
    case = ScaledCase(sweep.model, "", batch_size, dtype, scaled=config, draws=draws)
    chosen = BACKENDS[backend]
    if sweep.operation == LOG_WEIGHT:
        return _log_weight(case, backend, chosen.device)
    return chosen.make(case).operations[sweep.operation]


def _log_weight(case: ScaledCase, backend: str, device: str) -> Callable[[], Any]:
    """log w of K draws of z for each example; the noise is drawn before it is timed."""
    batch: Any = case.batch()
    if backend == "numpy":
        model = case.pair.left(case.config, KEY, dtype=case.dtype)
    else:
        model = case.pair.right(case.config, KEY, dtype=case.dtype, device=device)
        batch = to_tensors(batch, torch.device(device), track=False)
    noise = model.draw_noise(KEY, case.batch_size, samples=case.draws)

    def run() -> None:
        model.log_weight(batch, noise)
        clock.wait(torch.device(device))

    return run
