"""Rounds: every backend has its turn, A B C A B C, so that a slow moment meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

Ask = Callable[[], Mapping[str, float]]
"""Asks a worker for one turn: {"seconds": median of its calls, "calls": their number}"""


class Timing(NamedTuple):
    """The turns of one backend."""

    seconds: list[float]
    calls: int

    @property
    def median(self) -> float:
        """The median over the rounds, in seconds a call."""
        return statistics.median(self.seconds)

    @property
    def interquartile(self) -> float:
        """The distance of the quartiles over the rounds, in seconds; 0 for one round."""
        if len(self.seconds) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return third - first


def interleaved(
    backends: Mapping[str, Ask],
    rounds: int,
    budget: float,
    least_rounds: int = 3,
    now: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Give each backend its turn, round by round; the first round warms up and is not counted.

    It ends after `rounds` rounds, or before a round that would exceed `budget` seconds, but not
    before `least_rounds`.
    """
    start = now()
    times: dict[str, list[float]] = {name: [] for name in backends}
    calls = dict.fromkeys(backends, 0)
    for number in range(-1, rounds):
        spent = now() - start
        if number >= least_rounds and spent * (number + 2) / (number + 1) > budget:
            break
        for name, ask in backends.items():
            answer = ask()
            if number >= 0:
                times[name].append(answer["seconds"])
                calls[name] += int(answer["calls"])
    return {name: Timing(seconds, calls[name]) for name, seconds in times.items()}


def ratio(timing: Timing, base: Timing) -> float:
    """The median over rounds of a backend's time divided by that of the base in the same round."""
    pairs = zip(timing.seconds, base.seconds, strict=True)
    return statistics.median(own / other for own, other in pairs)
