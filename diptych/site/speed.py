"""The page of a benchmark, in the look of the site and with its figures inside.

`diptych bench` writes it as one file that needs no other; the site has the recorded benchmarks.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from diptych.bench import figures, tables
from diptych.bench.crossover import curves
from diptych.figures.style import save
from diptych.files import write_atomically
from diptych.runs.tables.speed import remarks
from diptych.runs.tables.trained import select
from diptych.site.home import repository
from diptych.site.look import jinja_environment, stylesheet

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ModelPart:
    """The part of a page that belongs to one model."""

    name: str
    rows: list[dict[str, Any]]
    sweeps: list[tuple[str, str, list[str], list[tuple[int, list[dict[str, Any] | None]]]]]
    """Config, dtype, backends, and by batch size the row of each backend"""
    remarks: list[str]
    top: dict[str, list[dict[str, Any]]]
    """The parts of a step that take most of its time, by configuration, dtype and backend"""
    figure: Markup
    compared: list[dict[str, Any]]


def write_page(record: Record, out: Path) -> Path:
    """Write index.html, and figures/*.png for other texts, to a folder; returns the page."""
    drawn = _figures(record)
    for name, figure in drawn.items():
        if figure is not None:
            save(figure, out / "figures" / f"{name}.png")
    template = jinja_environment().get_template("bench.html.j2")
    html = template.render(css=Markup(stylesheet()), **content(record, drawn))
    write_atomically(out / "index.html", html.encode())
    return out / "index.html"


def recorded() -> dict[str, dict[str, Any]]:
    """The recorded benchmarks of the clone by the name of their page; empty when installed."""
    return {record["name"]: record for record in select(repository.records(), "speed")}


def title(record: Record) -> str:
    """The title of a benchmark's page in the navigation."""
    on_gpu = record["metrics"]["device"] != "cpu"
    return f"NumPy against {record['device']}" if on_gpu else "NumPy against PyTorch"


def content(record: Record, drawn: dict[str, Figure | None] | None = None) -> dict[str, Any]:
    """The variables of the templates that show a benchmark; `drawn` are its figures."""
    metrics = record["metrics"]
    drawn = _figures(record) if drawn is None else drawn
    bars = drawn.pop("bars")
    return {
        "record": record,
        "metrics": metrics,
        "bars": _image(bars, "bars: the time of a step relative to NumPy"),
        "models": [_part(metrics, model, figure) for model, figure in drawn.items()],
        "backends": list(dict.fromkeys(row["backend"] for row in metrics["speed"])),
        "dtypes": list(dict.fromkeys(row["dtype"] for row in metrics["speed"])),
        "milliseconds": tables.milliseconds,
        "rate": tables.rate,
    }


def _figures(record: Record) -> dict[str, Figure | None]:
    """The bars, and the sweep of each model, by name."""
    speed = record["metrics"]["speed"]
    models = dict.fromkeys(row["model"] for row in speed)
    sweeps = {model: figures.sweep_figure(model, speed) for model in models}
    return {"bars": figures.bars_figure(speed), **sweeps}


def _part(metrics: Mapping[str, Any], model: str, figure: Figure | None) -> ModelPart:
    sweeps = []
    for (name, config, dtype), backends in curves(metrics["speed"]).items():
        if name == model:
            batches = sorted({batch for rows in backends.values() for batch in rows})
            lines = [(b, [rows.get(b) for rows in backends.values()]) for b in batches]
            sweeps.append((config, dtype, list(backends), lines))
    return ModelPart(
        model,
        [row for row in metrics["speed"] if row["model"] == model and row["preset"]],
        sweeps,
        remarks(dict(metrics), model),
        tables.grouped_top(metrics["top"], model),
        _image(figure, f"{model}: time of a training step against the batch size"),
        [row for row in metrics["compared"] if row["model"] == model],
    )


def _image(figure: Figure | None, text: str) -> Markup:
    """The figure as an image inside the page; empty for None."""
    if figure is None:
        return Markup()
    data = base64.b64encode(figures.svg(figure).encode()).decode()
    return Markup('<img src="data:image/svg+xml;base64,{}" alt="{}">').format(data, text)
