"""The picture of what z keeps for each window of the decoder, from a recorded `lab lossy`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

import diptych
from diptych.lab.windows import WINDOWS
from diptych.runs import results
from diptych.site.pictures.chart import BELOW, Chart, Series
from diptych.site.pictures.picture import Picture, path, scroller, svg, tag
from diptych.site.pictures.pixels import field_of
from model_specs.vlae import VLAEConfig

RECORD = Path(diptych.__file__).parents[1] / "benchmarks" / "results" / "lab_lossy.json"
SHARES = (("z", "z ~ q(z|x)", "first"), ("mu", "μ(x)", "second"), ("x'", "x′ ~ p(x′|z)", "third"))
"""Field of the record, label, and style of each classified input."""


def information_preference(record: Path = RECORD) -> Picture:
    """KL and accuracy of digit classifiers against the window; a sentence without a record."""
    title = "What z keeps"
    if not record.exists():
        return Picture("lossy", title, Markup(MISSING), Markup(""))
    entry = results.read(record)
    measured = entry["metrics"]["results"]
    windows, seeds = measured["windows"], entry["metrics"]["seeds"]
    kl = np.array([window["test_kl"] for window in windows.values()])
    charts = [_kl_chart(windows, kl), _digit_chart(windows, measured["identity"])]
    caption = Markup(
        "The variational lossy autoencoder, trained with {seeds} seeds for each window; points "
        "are seeds, lines are means, and the small drawings show the pixels that the decoder sees. "
        "The more it sees, the less it leaves to <i>z</i>: from {most:.1f} nats "
        "without a window to {least:.1f} with {last}. A logistic regression classifies the "
        "digit from a sample of <i>z</i>, from the posterior's mean, and from the lossy "
        "reconstruction <i>x′</i> of {images} held-out images. Chen et al. (2016) report {none} "
        "and {raster} nats on static MNIST. Recorded by <code>{command}</code>, commit {commit}."
    ).format(
        seeds=len(seeds),
        most=kl[0].mean(),
        least=kl.mean(1).min(),
        last=_name_of(windows, int(kl.mean(1).argmin())),
        images=measured["images"],
        none=measured["paper"]["none"],
        raster=measured["paper"]["raster"],
        command=entry["command"].partition(" --record")[0],
        commit=entry["commit"],
    )
    html = tag("div", *charts, class_="picture-charts")
    return Picture("lossy", title, caption, html)


MISSING = (
    "This picture is drawn from <code>benchmarks/results/lab_lossy.json</code>, which the "
    "installed package does not have. <code>diptych lab lossy</code> runs the experiment."
)


def _name_of(windows: Mapping[str, Any], index: int) -> str:
    name = list(windows)[index]
    return "the raster" if name == "raster" else f"the window {name}"


def _kl_chart(windows: Mapping[str, Any], kl: np.ndarray) -> Markup:
    top = float(np.ceil(kl.max() / 5) * 5)
    chart = Chart(list(windows), top, list(np.arange(0, top + 1, 5)), "KL(q(z|x) ‖ p(z)), nats")
    parts = [chart.axes(), _drawings(chart), chart.draw(Series("KL", kl, "first"))]
    values = ", ".join(
        f"{name}: {mean:.1f}" for name, mean in zip(windows, kl.mean(1), strict=True)
    )
    return _chart(chart, parts, f"KL in nats by window. {values}.")


def _digit_chart(windows: Mapping[str, Any], identity: Mapping[str, float]) -> Markup:
    chart = Chart(list(windows), 100, range(0, 101, 20), "Digits classified correctly, %")
    series = [
        Series(label, 100 * np.array([w[field] for w in windows.values()]), style)
        for field, label, style in SHARES
    ]
    parts = [chart.axes(), _drawings(chart), *map(chart.draw, series, (-6.0, 0.0, 6.0))]
    parts.append(chart.level(100 * identity["x"], "from x itself"))
    parts.append(chart.level(100 * identity["chance"], "by chance"))
    parts.append(chart.legend(series, 12))
    values = "; ".join(
        f"{s.label}: {s.values[0].mean():.0f} to {s.values[-1].mean():.0f}" for s in series
    )
    label = f"Accuracy of digit classifiers in percent, first to last window. {values}."
    return _chart(chart, parts, label)


def _chart(chart: Chart, parts: list[Markup], label: str) -> Markup:
    drawing = svg(*chart.size, *parts, label=label, class_="drawing chart")
    return scroller(drawing, chart.heading)


def _drawings(chart: Chart) -> Markup:
    """The pixels that each window sees, below its name."""
    parts = []
    for place, name in enumerate(chart.names):
        fields = WINDOWS.get(name)
        offsets = field_of(VLAEConfig(**fields)) if fields else frozenset()
        x, y = chart.x(place) - 1.7, chart.size[1] - BELOW + 60
        cells = "".join(f"M{x + 4 * j:.1f} {y + 4 * i:.1f}h3.4v3.4h-3.4z" for i, j in offsets)
        parts.append(path(cells, class_="window-pixel"))
        parts.append(path(f"M{x:.1f} {y:.1f}h3.4v3.4h-3.4z", class_="itself-pixel"))
    return tag("g", *parts)
