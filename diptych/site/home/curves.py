"""Both panels' losses over each other, and below them how far they differ, as one SVG."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from diptych.site.home.runs import FIRST_STEPS, Training
from diptych.site.home.verdicts import scientific

WIDTH, HEIGHT, STRIP, GAP = 380.0, 130.0, 54.0, 16.0
LEFT_EDGE = 44.0
"""The width of the labels of the axes."""
POINTS = 150
"""Points of a curve; each is the mean of the steps that it stands for."""
DECADES = (-17, -8)
"""The decades of relative differences that the strip shows."""
BOUND = 1e-10


def drawing(training: Training) -> Markup:
    """The drawing of a training: the loss of each panel above, their relative difference below."""
    bins = np.array_split(np.arange(len(training.steps)), min(POINTS, len(training.steps)))
    x = _x(np.array([training.steps[b].mean() for b in bins]), training.steps[-1])
    losses = {
        backend: np.array([loss[b].mean() for b in bins])
        for backend, loss in training.losses.items()
    }
    low, high = _limits(np.concatenate(list(losses.values())))
    parts = [_axes(low, high, training)]
    for backend, loss in losses.items():
        y = HEIGHT * (high - np.clip(loss, low, high)) / (high - low)
        parts.append(_line(x, y, backend))
    worst = np.array([training.differences[b].max() for b in bins])
    parts.append(_line(x, _y_of_difference(worst), "difference"))
    label = (
        f"Loss of {training.model} on both panels over {training.steps[-1]} steps; within the "
        f"first {FIRST_STEPS} steps they differ by {scientific(training.first_difference)} at most"
    )
    size = f"0 0 {LEFT_EDGE + WIDTH + 4:g} {HEIGHT + GAP + STRIP + 20:g}"
    return Markup('<svg class="curves" viewBox="{}" role="img" aria-label="{}">{}</svg>').format(
        size, label, Markup("").join(parts)
    )


def _limits(values: np.ndarray) -> tuple[float, float]:
    """The range of the axis: all values but the first few steps, which would flatten the rest."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(np.quantile(finite, 0.98))
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _x(steps: np.ndarray, last: float) -> np.ndarray:
    return LEFT_EDGE + WIDTH * steps / last


def _y_of_difference(values: np.ndarray) -> np.ndarray:
    low, high = DECADES
    decades = np.log10(np.maximum(values, 10.0**low))
    share = np.clip((decades - low) / (high - low), 0, 1)
    return HEIGHT + GAP + STRIP * (1 - share)


def _line(x: np.ndarray, y: np.ndarray, css: str) -> Markup:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if math.isfinite(b))
    return Markup('<polyline class="{}" points="{}"/>').format(css, points)


def _axes(low: float, high: float, training: Training) -> Markup:
    floor, bound = HEIGHT + GAP + STRIP, float(_y_of_difference(np.array(BOUND)))
    end = _x(np.array(min(FIRST_STEPS, training.steps[-1])), training.steps[-1])
    right = LEFT_EDGE + WIDTH
    lines = [(LEFT_EDGE, HEIGHT, right, HEIGHT, "axis"), (LEFT_EDGE, floor, right, floor, "axis")]
    lines.append((LEFT_EDGE, bound, float(end), bound, "bound"))
    marks = [
        (LEFT_EDGE - 6, 10.0, f"{high:.4g}", "end"),
        (LEFT_EDGE - 6, HEIGHT, f"{low:.4g}", "end"),
    ]
    marks.append((LEFT_EDGE - 6, bound + 4, f"1e−{-math.log10(BOUND):.0f}", "end"))
    marks.append((LEFT_EDGE - 6, floor, "0", "end"))
    marks.append((right, floor + 15, f"{training.steps[-1]} steps", "end"))
    marks.append((LEFT_EDGE, floor + 15, "relative difference below", "start"))
    result = Markup()
    for x1, y1, x2, y2, css in lines:
        result += Markup(
            '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>'
        ).format(x1, y1, x2, y2, css)
    for x, y, text, anchor in marks:
        result += Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
            x, y, anchor, text
        )
    return result
