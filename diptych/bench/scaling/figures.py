"""Figure of the sweeps: time against each size in log-log, with the fitted power laws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from diptych.bench.scaling.running import Row
from diptych.figures.style import INK, LEFT, LEGEND, RIGHT, set_heading, style

COLOURS = {"numpy": LEFT, "torch": RIGHT}
COLUMNS = 3
HEIGHT, WIDTH = 2.5, 3.4
"""Inches of one panel."""


def figure(rows: Sequence[Row]) -> Figure:
    """One panel for each sweep and dtype: the measured times, and the fit with its exponent."""
    panels: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        panels.setdefault((row.model, row.axis, row.dtype), []).append(row)
    lines = -(-len(panels) // COLUMNS)
    result = Figure(figsize=(WIDTH * COLUMNS, HEIGHT * lines), facecolor="white")
    axes = result.subplots(lines, COLUMNS, squeeze=False).reshape(-1)
    for axis, ((model, name, dtype), group) in zip(axes, panels.items(), strict=False):
        _draw(axis, group, f"{model}, {dtype}", name)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    result.tight_layout()
    return result


def _draw(axis: Axes, rows: Sequence[Row], heading: str, name: str) -> None:
    style(axis, name, "ms")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_locator(NullLocator())
    set_heading(axis, heading, 9)
    for row in rows:
        x, y = np.array(row.values, float), np.array(row.ms)
        colour = COLOURS.get(row.backend, INK)
        label = f"{row.backend}: {row.fit.exponent:.2f} ± {row.fit.standard_error:.2f}"
        axis.plot(x, y, "o", color=colour, markersize=4, markeredgecolor=INK, markeredgewidth=0.4)
        fitted = x[x >= row.fit.first]
        centre = np.exp(np.log(y[x >= row.fit.first]).mean())
        scale = centre / np.exp(row.fit.exponent * np.log(fitted).mean())
        axis.plot(fitted, scale * fitted**row.fit.exponent, color=colour, label=label)
    axis.legend(**LEGEND | {"fontsize": 7}, loc="upper left")
