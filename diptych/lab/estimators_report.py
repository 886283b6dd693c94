"""The table and the figure of the estimators experiment."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from diptych.display import Table
from diptych.figures.style import DPI, LEGEND, MUTED, RIGHT, set_heading, style

LOOKS: dict[str, dict[str, Any]] = {
    "A": {"color": "#E69F00", "marker": "s"},
    "B": {"color": RIGHT, "marker": "o"},
    "score": {"color": "#D55E00", "marker": "v"},
    "score + baseline": {"color": "#CC79A7", "marker": "D"},
}


def table(results: dict[str, Any]) -> Table:
    """Make a table of L times the encoder's variance, a row for each L."""
    models = results["models"]
    settings = f"{results['images']} images, {results['draws']} estimates, seeds: {len(models)}"
    title = f"trace of the covariance of the encoder's gradient, times L; {settings}"
    rows = Table(title=title, title_justify="left", caption_justify="left")
    rows.add_column("L", justify="right")
    for estimator in LOOKS:
        rows.add_column(estimator, justify="right")
    for estimator in ("score", "score + baseline"):
        rows.add_column(f"{estimator} / B", justify="right")
    for L in results["samples"]:
        values = {
            estimator: [
                encoder_variance(m["estimators"][estimator], L)
                for m in models
                if L > 1 or estimator != "score + baseline"
            ]
            for estimator in LOOKS
        }
        cells = [_range([L * v for v in values[estimator]]) for estimator in LOOKS]
        for estimator in ("score", "score + baseline"):
            cells.append(
                _range([v / b for v, b in zip(values[estimator], values["B"], strict=False)])
            )
        rows.add_row(str(L), *cells)
    factors = {
        name: _range([m["shared"][name]["A"] / m["shared"][name]["B"] for m in models])
        for name in ("random", "trained")
    }
    rows.caption = (
        f"A / B on the same samples, L = 1: random weights {factors['random']}, "
        f"after {results['steps']} steps {factors['trained']}"
    )
    return rows


def _range(values: list[float]) -> str:
    """Format the mean and the range of values, or a dash if there are none."""
    if not values:
        return "–"
    mean = format_number(float(np.mean(values)))
    return (
        f"{mean} ({format_number(min(values))}–{format_number(max(values))})"
        if len(values) > 1
        else mean
    )


def format_number(value: float) -> str:
    """Format a number with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def draw(results: dict[str, Any]) -> Figure:
    """Plot, left, variance against L with the range of the seeds; right, the first seed's bias.

    Lines on the right are the expected bias of an unbiased estimator.
    """
    models = results["models"]
    figure = Figure((9.2, 4.2), dpi=DPI, facecolor="white", layout="constrained")
    variance_axis, bias_axis = figure.subplots(1, 2)
    set_heading(
        style(variance_axis, "L, samples of z per image", "tr Cov"),
        "variance of the encoder's gradient",
    )
    title = f"distance of the mean from the reference, seed {models[0]['seed']}"
    set_heading(
        style(bias_axis, "L, samples of z per image", "‖mean − reference‖ / ‖reference‖"), title
    )
    first, size = models[0], models[0]["norm"]["encoder"]
    for estimator, look in LOOKS.items():
        L = np.array([f["samples"] for f in first["estimators"][estimator]])
        seeds = np.array(
            [[f["encoder"]["variance"] for f in m["estimators"][estimator]] for m in models]
        )
        variance_axis.fill_between(
            L, seeds.min(0), seeds.max(0), color=look["color"], alpha=0.25, lw=0
        )
        variance_axis.plot(
            L, seeds.mean(0), "-", ms=5, lw=1.4, mec="white", mew=0.6, label=estimator, **look
        )
        bias = [f["encoder"]["bias"] / size for f in first["estimators"][estimator]]
        errors = [f["encoder"]["bias_error"] for f in first["estimators"][estimator]]
        bias_axis.plot(
            L, np.hypot(errors, first["error"]["encoder"]) / size, lw=1.2, color=look["color"]
        )
        bias_axis.plot(L, bias, look["marker"], color=look["color"], ms=5.5, mec="white", mew=0.6)
    bias_axis.plot([], [], "o", color=MUTED, ms=5, label="measured")
    bias_axis.plot([], [], "-", color=MUTED, lw=1.2, label="expected without bias")
    guide = np.array(results["samples"])
    top = np.mean([encoder_variance(m["estimators"]["B"], results["samples"][0]) for m in models])
    variance_axis.plot(guide, 0.4 * top / guide, ":", color=MUTED, lw=1.2, label="slope of 1/L")
    for axis in (variance_axis, bias_axis):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator())
        axis.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(
        *variance_axis.get_legend_handles_labels(), loc="outside lower center", ncols=5, **LEGEND
    )
    bias_axis.legend(loc="lower left", **LEGEND)
    return figure


def encoder_variance(rows: list[dict[str, Any]], L: int) -> float:
    """Return the variance of the encoder's gradient at L from the rows of one estimator."""
    return next(row["encoder"]["variance"] for row in rows if row["samples"] == L)
