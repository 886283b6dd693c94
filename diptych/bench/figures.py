"""Figures of a benchmark: a step against the batch size, and bars at each model's own batch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from diptych.bench.crossover import LEFT as NUMPY
from diptych.bench.crossover import crossover, curves
from diptych.figures.style import DPI, INK, LEFT, LEGEND, MUTED, RIGHT, set_heading, style

Row = dict[str, Any]

LOOKS: dict[str, dict[str, Any]] = {
    "numpy": {"color": LEFT, "marker": "o", "lw": 3.2, "ms": 6.0},
    "torch": {"color": RIGHT, "marker": "s", "lw": 1.8, "ms": 4.5},
    "torch compiled": {"color": "#56B4E9", "marker": "D", "lw": 1.6, "ms": 4.0},
    "plain torch": {"color": MUTED, "marker": "v", "lw": 1.4, "ms": 4.0},
    "torch cuda": {"color": "#009E73", "marker": "^", "lw": 1.8, "ms": 5.0},
    "torch cuda compiled": {"color": "#CC79A7", "marker": "P", "lw": 1.6, "ms": 5.0},
    "torch cuda captured": {"color": "#D55E00", "marker": "X", "lw": 1.8, "ms": 5.0},
}
"""The line of each backend. Source of the hues: Okabe & Ito, "Color universal design", 2008."""
OTHER: dict[str, Any] = {"color": INK, "marker": ".", "lw": 1.2, "ms": 5.0}


def sweep_figure(model: str, speed: Sequence[Row]) -> Figure | None:
    """Plot the time of a step of one model against the batch size, an axis for each dtype.

    Bars reach from the first to the third quartile over the rounds. A ring marks where a backend
    overtakes NumPy, and its batch size stands below it. None for a model that was not swept.

    Units: milliseconds.
    """
    own = {key: value for key, value in curves(speed).items() if key[0] == model}
    if not own:
        return None
    size = (4.6 * len(own) + 0.6, 3.9)
    figure = Figure(size, dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(1, len(own), sharey=True, squeeze=False)[0]
    names: dict[str, None] = {}
    rings = 0
    for number, (axis, ((_, config, dtype), backends)) in enumerate(
        zip(axes, own.items(), strict=True)
    ):
        style(axis, "batch size", "" if number else "time of a training step, ms")
        set_heading(axis, f"{model} {config}, {dtype}")
        times = [r["ms"] for rows in backends.values() for r in rows.values()]
        _logarithmic(axis, min(times), max(times))
        for name, rows in backends.items():
            names[name] = None
            _curve(axis, name, rows)
        rings += _crossovers(axis, backends)
    handles: list[Any] = [Line2D([], [], label=name, **look(name)) for name in names]
    ring: dict[str, Any] = {"marker": "o", "mfc": "none", "mec": INK, "ms": 9, "ls": "none"}
    if rings:
        handles.append(Line2D([], [], label="overtakes NumPy", **ring))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, **LEGEND)
    return figure


def bars_figure(speed: Sequence[Row]) -> Figure | None:
    """Draw the time of a step of every model at its own batch size, relative to NumPy.

    One group of bars for each configuration and dtype; above a bar stand its milliseconds. None if
    no step was measured with NumPy.
    """
    groups: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in speed:
        if row["operation"] == "step" and row["preset"]:
            key = row["model"], f"{row['config']}, batch {row['batch']}", row["dtype"]
            groups.setdefault(key, {})[row["backend"]] = row
    groups = {key: rows for key, rows in groups.items() if NUMPY in rows}
    if not groups:
        return None
    names = list(dict.fromkeys(name for rows in groups.values() for name in rows))
    height = 0.9 + len(groups) * (0.22 * len(names) + 0.2)
    figure = Figure((8.4, height), dpi=DPI, facecolor="white", layout="constrained")
    axis = style(figure.add_subplot(), "time of a step relative to NumPy")
    longest = max(
        (r["ms"] + r["ms_iqr"] / 2) / rows[NUMPY]["ms"]
        for rows in groups.values()
        for r in rows.values()
    )
    thickness = 0.8 / len(names)
    for place, rows in enumerate(groups.values()):
        for number, name in enumerate(names):
            if name not in rows:
                continue
            row, y = rows[name], place - 0.4 + thickness * (number + 0.5)
            value, base = row["ms"] / rows[NUMPY]["ms"], rows[NUMPY]["ms"]
            half = row["ms_iqr"] / 2 / base
            axis.barh(y, value, 0.86 * thickness, color=look(name)["color"], zorder=2)
            axis.plot([value - half, value + half], [y, y], color=MUTED, lw=1.0, zorder=3)
            label = f"{row['ms']:.3g} ms"
            place_x = value + half + 0.012 * longest
            axis.text(place_x, y, label, fontsize=7.5, color=INK, va="center")
    axis.axvline(1, color=INK, lw=0.8, ls=":", zorder=1)
    labels = [f"{model} {dtype}\n{config}" for model, config, dtype in groups]
    axis.set_yticks(range(len(groups)), labels)
    axis.set_ylim(len(groups) - 0.5, -0.5)
    axis.set_xlim(0, 1.14 * longest)
    axis.grid(False, axis="y")
    handles = [Line2D([], [], color=look(n)["color"], lw=6, label=n) for n in names]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, **LEGEND)
    return figure


def look(backend: str) -> dict[str, Any]:
    """The colour, marker and width of a backend's line."""
    return LOOKS.get(backend, OTHER)


def svg(figure: Figure) -> str:
    """The figure as SVG, the same text for the same numbers."""
    from matplotlib import rc_context  # noqa: PLC0415

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "diptych", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _curve(axis: Axes, name: str, rows: Mapping[int, Row]) -> None:
    batches = sorted(rows)
    times = [rows[b]["ms"] for b in batches]
    half = [rows[b]["ms_iqr"] / 2 for b in batches]
    axis.plot(batches, times, **look(name), mec="white", mew=0.6, zorder=2 + (name != NUMPY))
    axis.errorbar(batches, times, yerr=half, fmt="none", ecolor=look(name)["color"], elinewidth=1)


def _crossovers(axis: Axes, backends: Mapping[str, Mapping[int, Row]]) -> int:
    """Draw a ring where a backend overtakes NumPy; returns the number of rings."""
    rings = 0
    left = backends.get(NUMPY, {})
    for name, rows in backends.items():
        batches = sorted(set(rows) & set(left))
        if name == NUMPY or len(batches) < 2:
            continue
        times = ([of[b]["ms"] / 1e3 for b in batches] for of in (left, rows))
        point = crossover(batches, *times)
        if point is None or point.batch is None or point.seconds is None:
            continue
        if point.batch == point.first:
            continue
        rings += 1
        x, y = point.batch, 1e3 * point.seconds
        axis.plot([x], [y], "o", mfc="none", mec=look(name)["color"], mew=1.6, ms=10, zorder=5)
        axis.annotate(
            f"{point.batch:.3g}",
            (x, y),
            (0, -13),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
            color=look(name)["color"],
        )
    return rings


def _logarithmic(axis: Axes, least: float, most: float) -> None:
    """Set logarithmic axes; times within two decades have labels at 2 and 5 as well."""
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_locator(LogLocator(base=4, numticks=12))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_minor_locator(LogLocator(base=2, numticks=24))
    subs = (1.0, 2.0, 5.0) if most < 100 * least else (1.0,)
    axis.yaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(which="minor", length=0)
