"""Grids of images in figures, in which an image pixel is a whole number of dots."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diptych.figures.style import DPI, GAP, check

APART = 12
"""Further dots between two columns that are set apart."""
LARGEST = 2**16 - 256
"""Dots of a mosaic in either direction, at most: a limit of matplotlib, with room for margins."""


def check_images(name: str, images: np.ndarray) -> None:
    """Raise ValueError unless `images` are (N, H, W), or (N, H, W, 3) for colour."""
    colour = np.ndim(images) == 4
    check(name, images, ("N", "H", "W", 3) if colour else ("N", "H", "W"), grey=True)


def mosaic(
    images: np.ndarray,
    columns: int,
    left: float = 0,
    below: float = 0,
    above: float = 0,
    apart: Sequence[int] = (),
) -> tuple[Figure, Axes]:
    """Draw images row by row; the columns numbered in `apart` stand further from those before."""
    count, height, width = images.shape[:3]
    right, down = cell(columns, height, width)
    rows = math.ceil(count / columns)
    starts = [i * right + APART * sum(i >= n for n in apart) for i in range(columns)]
    size = starts[-1] + right - GAP, rows * down - GAP
    figure, axis = pixel_axis(*size, left, below, above)
    for i, image in enumerate(images):
        x, y = starts[i % columns], i // columns * down
        show(axis, image, (x, x + right - GAP, y + down - GAP, y))
    axis.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axis.set_axis_off()
    return figure, axis


def cell(columns: int, height: int, width: int) -> tuple[int, int]:
    """Dots from one image of a mosaic to the next, to the right and down."""
    scale = max(1, int(np.clip(1000 / columns, 64, 160)) // max(height, width))
    return width * scale + GAP, height * scale + GAP


def pixel_axis(
    width: int, height: int, left: float = 0, below: float = 0, above: float = 0
) -> tuple[Figure, Axes]:
    """Make a figure with an axis of width x height dots, and further margins in inches."""
    x, y = round(left * DPI) + GAP, round(below * DPI) + GAP
    w, h = x + width + GAP, y + height + GAP + round(above * DPI)
    # + 0.01 because Agg rounds the size down, and w / DPI * DPI may be just below w
    figure = Figure(((w + 0.01) / DPI, (h + 0.01) / DPI), dpi=DPI, facecolor="white")
    return figure, figure.add_axes((x / w, y / h, width / w, height / h))


def show(axis: Axes, image: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    """Draw one image, clipped to [0, 1], between left, right, bottom and top of `extent`."""
    grey = axis.imshow(np.clip(image, 0, 1), "gray", aspect="auto", vmin=0, vmax=1, origin="upper")
    grey.set(interpolation="nearest", extent=extent)
