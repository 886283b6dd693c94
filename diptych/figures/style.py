"""Colours, axis style, PNG files and argument checks that all figures share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diptych.files import write_atomically

LEFT, RIGHT = "#F7C562", "#12305C"  # amber and navy: far apart in lightness, not only in hue
INK, MUTED, HAIRLINE = "#222222", "#666666", "#E3E3E3"
TERMS = {"o": INK, "s": "#009E73", "^": "#CC79A7", "D": "#56B4E9", "v": "#D55E00", "P": "#0072B2"}
TERMS |= {"X": "#E69F00", "p": "#882255"}
# Source: Paul Tol, "Colour schemes", 2021, the muted scheme, and ink for the tenth label
LABELS = ["#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99"]
LABELS += ["#999933", "#AA4499", INK]
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": INK, "markerscale": 1.4}
DPI, GAP = 150, 4  # dots per inch, dots between two images


def check_name(path: str | Path) -> None:
    """Check the name of a figure file. Raises: ValueError unless `path` ends in .png."""
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"path: got {str(path)!r}, takes a name that ends in .png")


def save(figure: Figure, path: str | Path) -> None:
    """Write `figure` as a PNG of 150 dots per inch, atomically.

    Raises: ValueError if `path` does not end in .png or cannot be written.
    """
    check_name(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def style(axis: Axes, x: str = "", y: str = "") -> Axes:
    """Style an axis and label it; sets explicitly what the user's rcParams would change."""
    axis.set_facecolor("white")
    axis.tick_params(which="both", labelsize=8, color=MUTED, labelcolor=MUTED, width=0.6, length=3)
    axis.spines[:].set(color=MUTED, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)
    for ruler in (axis.xaxis, axis.yaxis):
        ruler.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=3))
    axis.grid(True, color=HAIRLINE, linewidth=0.6, linestyle="-")
    axis.set_xlabel(x, fontsize=9, color=INK)
    axis.set_ylabel(y, fontsize=9, color=INK)
    return axis


def set_heading(axis: Axes, text: str, size: float = 10) -> None:
    """Set a left-aligned bold title."""
    axis.set_title(text, loc="left", fontsize=size, fontweight="bold", color=INK)


def check(name: str, value: np.ndarray, shape: tuple[int | str, ...], grey: bool = False) -> None:
    """Raise ValueError unless `value` is a finite array of `shape`; a letter stands for any size.

    With `grey`, integers above 1 are refused too: images take values in [0, 1].
    """
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name}: got {type(value).__name__}, takes numpy.ndarray")
    pairs = zip(value.shape, shape, strict=False)
    fits = all(
        size > 0 and (size == expected or isinstance(expected, str)) for size, expected in pairs
    )
    if value.ndim != len(shape) or not fits:
        raise ValueError(f"{name}: got shape {value.shape}, takes ({', '.join(map(str, shape))})")
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: got NaN or inf, takes finite values")
    if grey and value.dtype.kind in "iu" and value.max() > 1:
        raise ValueError(f"{name}: got {value.dtype} up to {value.max()}, takes [0, 1]")
