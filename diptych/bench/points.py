"""The measurements of a benchmark: which cases, which operations, and how long each may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diptych import pairs
from diptych.bench import steps
from diptych.bench.case import Case
from diptych.bench.workloads import parts
from diptych.names import MODELS

SWEEP = tuple(4**i for i in range(8))
"""Batch sizes of the sweep: 1 to 16384."""
QUICK_SWEEP = {"cpu": (1, 8, 64), "cuda": (1, 16, 256, 4096)}
"""Batch sizes of the quick form by the kind of device."""


@dataclass(frozen=True)
class Settings:
    """The settings of a benchmark."""

    models: Sequence[str] = tuple(MODELS)
    device: str = "cpu"
    threads: int = 1
    dtypes: Sequence[str] = ("float64", "float32")
    sizes: Sequence[int] | None = None
    """The batch sizes of the sweep; None for the default"""
    quick: bool = False
    rounds: int = 20
    parts: bool = False
    compiled: bool = True
    plain: bool = True
    operations: Sequence[str] = steps.OPERATIONS

    @property
    def sweep(self) -> Sequence[int]:
        """The batch sizes of the sweep."""
        return self.sizes or (QUICK_SWEEP[self.device.partition(":")[0]] if self.quick else SWEEP)

    @property
    def limits(self) -> Limits:
        """The time that a measurement may take."""
        return QUICK if self.quick else Limits()


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes that decide how often a call is repeated and where a sweep is cut."""

    budget: float = 4.0
    """Seconds for the rounds of one measurement, all backends together"""
    least_rounds: int = 3
    """Rounds that are made even if they take longer"""
    step: float = 2.0
    """Seconds of the longest step of a sweep"""
    comparison: float = 60.0
    """Seconds that the comparison with the left panel may take"""
    compilation: float = 60.0
    """Seconds after which a model is not compiled again for the other sizes of a sweep"""
    memory: float = 0.5
    """The share of the memory of the machine that a step may take"""


QUICK = Limits(budget=0.8, step=0.25, comparison=6.0, compilation=0.0)


@dataclass(frozen=True)
class Point:
    """One case, with the operations that are timed."""

    case: Case
    operations: tuple[str, ...]
    is_preset: bool = True
    """False for a point of the sweep alone"""


@dataclass(frozen=True)
class Series:
    """The points of one configuration and dtype, by increasing batch size; its workers are fresh,
    so that the growth of their memory belongs to it."""

    model: str
    size: str
    dtype: str
    points: list[Point] = field(default_factory=list)


def plan(settings: Settings) -> list[Series]:
    """The series of all models: each size at its own batch, and the first one over the sweep."""
    result = []
    for model in settings.models:
        sizes = pairs.get(model).sizes
        for number, (size, (_, own_batch)) in enumerate(sizes.items()):
            if number and settings.quick:
                continue
            for dtype in settings.dtypes:
                series = Series(model, size, dtype)
                sweep = () if number else settings.sweep
                for batch_size in sorted({own_batch, *sweep}):
                    preset = batch_size == own_batch
                    named = settings.operations if preset else ("step",)
                    if preset and settings.parts:
                        named = (*named, *parts(model))
                    case = Case(model, size, batch_size, dtype)
                    series.points.append(Point(case, tuple(named), preset))
                result.append(series)
    return result


def total_memory() -> int | None:
    """The memory of this machine in bytes; None where it is not known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = {line.partition(":")[0]: line.split()[1] for line in lines}
    return int(values["MemTotal"]) * 1024 if "MemTotal" in values else None
