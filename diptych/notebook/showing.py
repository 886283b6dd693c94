"""Show figures and tables in a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from IPython.display import Image, Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as Pixels

from diptych import figures
from diptych.parity.reports.report import Report

COLOURS = 128
"""Colours of a figure's palette: a picture then takes a third of the bytes."""
WIDTH = 90
"""Pixels on the screen for an inch of the figure."""


def show(figure: Figure, alt: str) -> None:
    """Show a figure that was made without pyplot, with `alt` for those who cannot see it."""
    png, small = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=figures.DPI, metadata={"Software": None})
    picture = Pixels.open(png).convert("RGB")
    palette = picture.quantize(COLOURS, dither=Pixels.Dither.NONE)
    palette.save(small, format="png", optimize=True)
    width = round(WIDTH * figure.get_figwidth())
    display(Image(small.getvalue(), width=width, alt=alt))


def tabulate(heads: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Show rows of text or numbers under their heads."""
    lines = [list(heads), ["---"] * len(heads), *rows]
    display(Markdown("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)))


def axes(
    figure: Figure, place: tuple[int, int, int], title: str = "", x: str = "", y: str = ""
) -> Axes:
    """Add a plain pair of axes to a figure, with a bold title on the left."""
    axis = figures.style(figure.add_subplot(*place), x, y)
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold", color=figures.INK)
    return axis


def largest_error(report: Report, *kinds: str) -> tuple[str, str]:
    """The largest error among the rows whose kind ends in one of `kinds`, and its tensor's name."""
    row = max((r for r in report.rows if r.kind.endswith(kinds)), key=lambda r: r.error)
    return f"{row.error:.0e}", f"`{row.name}`"


def step_curves(outcome: Any) -> dict[str, np.ndarray]:
    """The loss terms of every logged step of a run, by name."""
    lines = [line for line in outcome.folder.metrics if line["kind"] == "step"]
    names = "step", "total", "recon", "kl"
    return {name: np.array([line[name] for line in lines]) for name in names}
