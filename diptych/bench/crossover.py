"""Crossovers: the batch size from which a backend is faster than NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]
LEFT = "numpy"


class Crossover(NamedTuple):
    """The smallest batch size from which a backend stays faster than NumPy."""

    batch: float | None
    """Between two measured sizes; the smallest measured one if it is faster everywhere; None if it
    is not faster at the largest"""
    seconds: float | None
    """The time of a step there"""
    first: int
    last: int

    def text(self, backend: str) -> str:
        """The crossover as a sentence."""
        if self.batch is None:
            largest = f"batch {self.last}, the largest that was timed"
            return f"{backend} is not faster than NumPy at {largest}"
        if self.batch == self.first:
            return f"{backend} is faster than NumPy from batch {self.first} on"
        return f"{backend} overtakes NumPy at batch {self.batch:.3g}"


def crossover(
    batches: Sequence[int], left: Sequence[float], other: Sequence[float]
) -> Crossover | None:
    """The crossover of two curves of seconds, interpolated between logarithms; None for no point.

    log(left / other) is linear in log(batch) between two measured sizes
    """
    if not batches:
        return None
    gains = [math.log(a / b) for a, b in zip(left, other, strict=True)]
    first, last = batches[0], batches[-1]
    if gains[-1] <= 0:
        return Crossover(None, None, first, last)
    slower = [i for i, gain in enumerate(gains) if gain <= 0]
    if not slower:
        return Crossover(float(first), other[0], first, last)
    i = slower[-1]
    part = -gains[i] / (gains[i + 1] - gains[i])
    batch = math.exp(math.log(batches[i]) * (1 - part) + math.log(batches[i + 1]) * part)
    seconds = math.exp(math.log(other[i]) * (1 - part) + math.log(other[i + 1]) * part)
    return Crossover(batch, seconds, first, last)


def curves(speed: Sequence[Row]) -> dict[tuple[str, str, str], dict[str, dict[int, Row]]]:
    """The steps of each (model, config, dtype): by backend, the row of each batch size.

    Only configurations that were swept have curves: those with two batch sizes or more.
    """
    result: dict[tuple[str, str, str], dict[str, dict[int, Row]]] = {}
    for row in speed:
        if row["operation"] == "step":
            key = row["model"], row["config"], row["dtype"]
            result.setdefault(key, {}).setdefault(row["backend"], {})[row["batch"]] = row
    return {
        key: backends
        for key, backends in result.items()
        if max(len(rows) for rows in backends.values()) > 1
    }


def crossovers(speed: Sequence[Row]) -> Iterator[tuple[Row, Crossover]]:
    """The crossover of each backend of each curve, with what it belongs to."""
    for (model, config, dtype), backends in curves(speed).items():
        left = backends.get(LEFT, {})
        for backend, rows in backends.items():
            batches = sorted(set(rows) & set(left))
            if backend == LEFT or len(batches) < 2:
                continue
            times = ([of[b]["ms"] / 1e3 for b in batches] for of in (left, rows))
            point = crossover(batches, *times)
            if point is not None:
                key = {"model": model, "config": config, "dtype": dtype, "backend": backend}
                yield key, point
