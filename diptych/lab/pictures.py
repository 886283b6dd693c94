"""Mosaics of small images inside a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from diptych.figures.style import set_heading


def mosaic(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Tile images row by row on white.   images (N, H, W), clipped to [0, 1] -> (H', W')"""
    count, height, width = images.shape
    rows = -(-count // columns)
    picture = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap))
    for i, image in enumerate(np.clip(images, 0, 1)):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        picture[y : y + height, x : x + width] = image
    return picture


def show_mosaic(axis: Axes, images: np.ndarray, columns: int, title: str = "") -> None:
    """Fill an axis with a mosaic of square pixels."""
    axis.imshow(mosaic(images, columns), "gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_axis_off()
    set_heading(axis, title, 9)
