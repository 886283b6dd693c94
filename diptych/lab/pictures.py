"""Mosaics of small images inside a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from diptych.figures.style import set_heading


def mosaic(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Tile images row by row on white.

    Shapes: images (N, H, W), or (N, H, W, 3) in colour, clipped to [0, 1] -> (H', W') or
    (H', W', 3).
    """
    count, height, width = images.shape[:3]
    rows = -(-count // columns)
    size = rows * (height + gap) - gap, columns * (width + gap) - gap
    picture = np.ones(size + images.shape[3:])
    for i, image in enumerate(np.clip(images, 0, 1)):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        picture[y : y + height, x : x + width] = image
    return picture


def show_mosaic(axis: Axes, images: np.ndarray, columns: int, title: str = "") -> None:
    """Fill an axis with a mosaic of square pixels."""
    axis.imshow(mosaic(images, columns), "gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_axis_off()
    set_heading(axis, title, 9)
