"""The figure of colour and texture: KL, what z and x' reveal of the factors, and images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diptych.figures.style import DPI, INK, LEGEND, MUTED, RIGHT, TERMS, set_heading, style
from diptych.lab.pictures import show_mosaic

LINES = {"all": ("context in colour", "o-", RIGHT), "grey": ("context in grey", "s--", TERMS["v"])}
"""Label, line and colour of each context."""
CURVES = 3.2
"""Height of a row of curves in inches."""
ROW = 0.5
"""Height of a row of images in inches."""


def draw(results: Mapping[str, Any], pictures: Mapping[str, np.ndarray]) -> Figure:
    """Plot, above, KL and readable factors against the window; below, images x and x'.

    Shapes: pictures[name] (N, 3, H, W), the originals first.
    """
    heights = 2 * CURVES, ROW * len(pictures)
    figure = Figure((9.2, sum(heights)), dpi=DPI, facecolor="white", layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    (nats, from_z), (from_x, digit) = above.subplots(2, 2)
    _draw_lines(nats, results, lambda entry: entry["test_kl"])
    _set_axis(nats, results, "KL in nats, held-out images", "KL(q(z|x) ‖ p(z)), nats")
    for axis, source, name in ((from_z, "z", "z ~ q(z|x)"), (from_x, "x'", "x′ ~ p(x′|z)")):
        _draw_lines(axis, results, lambda entry, source=source: entry[source]["colour"])
        _set_axis(axis, results, f"colour read from {name}", "R² of a ridge regression")
        axis.axhline(0, color=MUTED, lw=1.2, ls=":")
    _draw_lines(digit, results, lambda entry: 100 * np.array(entry["z"]["digit"]))
    _set_axis(digit, results, "digit read from z ~ q(z|x)", "accuracy, %")
    label = f"digit read from x itself: {100 * results['x']['digit']:.0f} %"
    digit.axhline(100 * results["x"]["digit"], color=INK, lw=1.2, ls=":", label=label)
    curves, _ = digit.get_legend_handles_labels()
    above.legend(handles=curves, loc="outside upper right", ncols=len(curves), **LEGEND)
    for axis, (name, images) in zip(
        below.subplots(len(pictures), 1, squeeze=False)[:, 0], pictures.items(), strict=True
    ):
        show_mosaic(axis, images.transpose(0, 2, 3, 1), len(images))
        side = axis.text(-0.01, 0.5, _label(name), ha="right", va="center", fontsize=9)
        side.set(transform=axis.transAxes, color=INK)
    return figure


def _label(name: str) -> str:
    return {"none": "x′, factorised", "originals": "x, held-out"}.get(name, f"x′, {name}")


def _draw_lines(axis: Axes, results: Mapping[str, Any], values: Any) -> None:
    """Plot the mean over the seeds of each context, and each seed as a thin line.

    `values` gets the measures of a model and returns a number for each seed. The factorised decoder
    is the first point of both lines.
    """
    for context, (label, line, color) in LINES.items():
        entries = [e for e in results["models"].values() if e["context"] in ("none", context)]
        y = np.array([values(entry) for entry in entries])  # (windows, seeds)
        axis.plot(y, "-", color=color, lw=0.5, alpha=0.6)
        axis.plot(y.mean(1), line, color=color, lw=1.8, ms=5, label=label)


def _set_axis(axis: Axes, results: Mapping[str, Any], heading: str, y: str) -> None:
    """Space the windows equally, and label each with its number of pixels."""
    set_heading(style(axis, "window and its number of pixels", y), heading)
    models = results["models"].items()
    names = [f"{name}\n{e['pixels']}" for name, e in models if e["context"] != "grey"]
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.3, len(names) - 0.7)
    low, high = axis.get_ylim()
    axis.set_ylim(min(0.0, low), high)
