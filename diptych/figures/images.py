"""Figures of image models: loss curves, image grids and reconstructions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diptych.figures.pixels import check_images, mosaic
from diptych.figures.style import (
    DPI,
    GAP,
    INK,
    LEFT,
    LEGEND,
    RIGHT,
    TERMS,
    check,
    set_heading,
    style,
)

Curves = Mapping[str, Mapping[str, np.ndarray]]  # curves[panel]["step" or a loss term]


def loss_curves(curves: Curves, units: str = "nats per example") -> Figure:
    """Plot the loss terms of both panels, one axis a term, and their relative difference below.

    The relative difference |left - right| / |right| has a logarithmic axis. A difference of 0 is
    drawn below the smallest decade, and an infinite one, where `right` is 0, above the largest.
    Shapes: curves["numpy"] and curves["torch"] have the same names: "step" (T), and any terms (T).
    Raises: ValueError if panels, names, shapes or steps do not match, or a value is not finite.
    """
    terms = _check_curves(curves)
    rows = math.ceil(len(terms) / 4)
    columns = math.ceil(len(terms) / rows)
    size = (max(6.4, 3.1 * columns), 2.4 * rows + 2.6)
    figure = Figure(size, dpi=DPI, facecolor="white", layout="constrained")
    step, differences = curves["torch"]["step"], {}
    dot = "o" if len(step) == 1 else None
    for i, term in enumerate(terms):
        a, b = curves["numpy"][term], curves["torch"][term]
        y = units if i % columns == 0 else ""
        axis = style(figure.add_subplot(rows + 1, columns, i + 1), y=y)
        set_heading(axis, term)
        left = axis.plot(step, a, marker=dot, color=LEFT, lw=5, ms=8, label="NumPy")
        right = axis.plot(step, b, "--", marker=dot, color=RIGHT, lw=1.2, ms=3, label="PyTorch")
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            differences[term] = np.where(a == b, 0.0, np.abs(a - b) / np.abs(b))
    figure.legend(handles=[*left, *right], loc="outside upper right", ncols=2, **LEGEND)
    last_row = (rows * columns + 1, (rows + 1) * columns)
    axis = style(
        figure.add_subplot(rows + 1, columns, last_row), "step", "|left − right| / |right|"
    )
    _draw_differences(axis, step, differences)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, handlelength=1, **LEGEND)
    return figure


def image_grid(images: np.ndarray, columns: int) -> Figure:
    """Show images in a grid, row by row; an image pixel is a whole number of dots.

    Shapes: images (N, H, W), or (N, H, W, 3) for colour, clipped to [0, 1].
    Raises: ValueError for another shape, NaN or inf, integers above 1, or columns below 1.
    """
    check_images("images", images)
    if columns < 1:
        raise ValueError(f"columns: got {columns}, takes 1 or more")
    return mosaic(images, min(columns, len(images)))[0]


def reconstructions(originals: np.ndarray, reconstructions: np.ndarray) -> Figure:
    """Show originals in the upper row and their reconstructions in the lower row.

    Shapes: originals (N, H, W) or (N, H, W, 3), reconstructions alike, clipped to [0, 1].
    Raises: ValueError for other shapes, NaN or inf, or integers above 1.
    """
    check_images("originals", originals)
    check("reconstructions", reconstructions, originals.shape, grey=True)
    count = len(originals)
    figure, axis = mosaic(np.concatenate([originals, reconstructions]), count, left=1.05)
    for image, name in zip(axis.images[::count], ("original", "reconstruction"), strict=True):
        middle = (-2 * GAP, sum(image.get_extent()[2:]) / 2)
        axis.text(*middle, name, ha="right", va="center", fontsize=9, color=INK)
    return figure


def _draw_differences(axis: Axes, step: np.ndarray, differences: dict[str, np.ndarray]) -> None:
    values = np.concatenate(list(differences.values()))
    logs = np.log10(values[(values > 0) & np.isfinite(values)]).clip(-100, 100)
    low, high = (math.floor(logs.min()), math.ceil(logs.max())) if logs.size else (-16, -15)
    ticks = {10.0**d: f"$10^{{{d}}}$" for d in range(low, high + 1, 1 + (high - low) // 6)}
    distance = 1 + (high - low) / 8
    zero, infinity = 10 ** (low - distance), 10 ** (high + distance)
    ticks |= {zero: "0"} if (values == 0).any() else {}
    ticks |= {infinity: "∞"} if np.isinf(values).any() else {}
    axis.set_yscale("log")
    size, looks = np.clip(50 / math.sqrt(len(step)), 2.2, 4), cycle(TERMS.items())
    for term, values in differences.items():
        mark, color = next(looks)
        name = f"{term}: max {values.max():.1e}" if values.any() else f"{term}: equal"
        axis.plot(
            step,
            values.clip(zero, infinity),
            mark,
            color=color,
            label=name,
            ms=size,
            mew=0,
            alpha=0.75,
        )
    axis.set_yticks(list(ticks), list(ticks.values()))
    axis.minorticks_off()
    margin = 10 ** (distance / 3)
    axis.set_ylim(min(ticks) / margin, max(*ticks, 10.0**high) * margin)


def _check_curves(curves: Curves) -> list[str]:
    left, right = curves.get("numpy", {}), curves.get("torch", {})
    if len(curves) != 2 or set(left) != set(right) or not set(left) > {"step"}:
        got = {panel: list(curve) for panel, curve in curves.items()}
        raise ValueError(f"curves: got {got}, takes numpy and torch, each step and the same terms")
    for panel, curve in curves.items():
        for name, values in curve.items():
            check(f"curves[{panel!r}][{name!r}]", values, (np.size(right["step"]),))
    if (left["step"] != right["step"]).any():
        raise ValueError("curves: got different steps in the two panels, takes the same in both")
    return [name for name in left if name != "step"]
