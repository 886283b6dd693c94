"""Where a sweep over batch sizes ends for each backend, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from diptych.bench.backends import BACKENDS
from diptych.bench.points import Limits, Point

LEFT = "numpy"
RUNS_OF_A_COMPARISON = 6
"""The time of a comparison in steps of the left panel: two runs in float64, and noisy ones."""
FIRST_EXPONENT = 0.5
"""How time is taken to grow with the batch while only one size was measured: small batches cost
little more than a single example."""


class Cost(NamedTuple):
    """A step at one batch size."""

    batch: int
    seconds: float
    memory: int


class Reach:
    """The backends of a series that a sweep has left behind; a backend that is cut stays so.

    Time is taken to grow as a power of the batch, and memory as a straight line, both through the
    last two sizes measured.
    """

    def __init__(self, limits: Limits, memory: int | None, names: Sequence[str]) -> None:
        self.limits, self.memory, self.names = limits, memory, names
        self.reasons: dict[str, str] = {}
        """By backend: why it was cut"""
        self.costs: dict[str, list[Cost]] = {name: [] for name in names}
        """By backend: the steps measured, by increasing batch size"""
        self.compilation: dict[str, float] = {}
        """By compiled backend: seconds of the first call"""

    def allows(self, name: str, point: Point) -> bool:
        """True if the backend takes part at this point; otherwise `reasons` says why not."""
        if point.is_preset:
            return True  # it is what the model is used for, however long it takes
        if name not in self.reasons and (reason := self._reason(name, point.case.batch_size)):
            self.reasons[name] = reason
        return name not in self.reasons

    def _reason(self, name: str, batch: int) -> str:
        if BACKENDS[name].compiled and self.limits.compilation < self.compilation.get(name, 0):
            return f"compiling takes {_text(self.compilation[name])} for each batch size"
        seconds = predicted_seconds(self.costs[name], batch)
        if seconds > self.limits.step:
            return f"a step would take {_text(seconds)}"
        memory = predicted_memory(self.costs[name], batch)
        if self.memory and memory > self.limits.memory * self.memory:
            return f"a step would take {memory / 2**30:.0f} GiB"
        needed = RUNS_OF_A_COMPARISON * predicted_seconds(self.costs.get(LEFT, []), batch)
        if needed > self.limits.comparison:
            return f"the comparison with the left panel would take {_text(needed)}"
        return ""


def predicted_seconds(costs: Sequence[Cost], batch: int) -> float:
    """The seconds of a step at another batch size; 0 before anything was measured."""
    if not costs:
        return 0.0
    last, exponent = costs[-1], FIRST_EXPONENT
    if len(costs) > 1:
        before = costs[-2]
        growth = math.log(last.seconds / before.seconds) / math.log(last.batch / before.batch)
        exponent = min(1.2, max(FIRST_EXPONENT, growth))
    return last.seconds * (batch / last.batch) ** exponent


def predicted_memory(costs: Sequence[Cost], batch: int) -> float:
    """The bytes of a step at another batch size; 0 before two sizes were measured."""
    if len(costs) < 2:
        return 0.0
    before, last = costs[-2:]
    slope = (last.memory - before.memory) / (last.batch - before.batch)
    return last.memory + max(0.0, slope) * (batch - last.batch)


def _text(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
