"""The metrics of a benchmark as JSON; docs/speed.md describes every key."""

from __future__ import annotations

from typing import Any

from diptych.bench.crossover import crossovers
from diptych.bench.measure import BASE, Measured
from diptych.bench.points import Settings


def metrics(settings: Settings, measured: Measured) -> dict[str, Any]:
    """The metrics of one benchmark: its settings, and lists of rows."""
    return {
        "threads": settings.threads,
        "device": settings.device,
        "quick": settings.quick,
        "base": BASE,
        "speed": measured.speed,
        "compared": measured.compared,
        "cut": measured.cut,
        "peaks": measured.peaks,
        "top": measured.top,
        "crossovers": [
            key | {"batch": point.batch, "text": point.text(key["backend"])}
            for key, point in crossovers(measured.speed)
        ],
    }
