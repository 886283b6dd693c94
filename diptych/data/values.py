"""Checks of the scale and the polarity of images, the same for the readers of all image sets."""

from __future__ import annotations

import numpy as np

BRIGHT = 0.6
"""The largest mean of images with bright strokes on a dark ground, on the scale 0 .. 1.

The means of MNIST, Fashion-MNIST and KMNIST are 0.13, 0.29 and 0.19, those of their negatives 0.87,
0.71 and 0.81.
"""
GREY = 128
"""The least value of the brightest byte of grey images."""


def check_grey(source: object, images: np.ndarray) -> None:
    """Raise ValueError unless the largest byte of `images`, uint8, suits grey values 0 .. 255.

    Binarized images of 0 and 1, or grey ones of 0 to 16 or 0 to 100, would become almost black.
    """
    largest = int(images.max())
    if largest < GREY:
        raise ValueError(f"{source}: largest byte is {largest}, expected grey 0 .. 255")


def check_dark_ground(source: object, images: np.ndarray, white: int) -> None:
    """Raise ValueError if the images look inverted, dark strokes on a bright ground.

    `white` is the value of a pixel that is fully on: 255 or 1. The mean is that of 1000 to 2000
    images, evenly spaced, or of all if there are fewer.
    """
    mean = float(images[:: max(1, len(images) // 1000)].mean())
    if mean > BRIGHT * white:
        raise ValueError(
            f"{source}: found a mean of {mean:.{1 if white > 1 else 3}f}, expected bright strokes "
            f"({white}) on a dark ground (0), a mean below {BRIGHT * white:g}: inverted?"
        )


def check_ink(source: object, images: np.ndarray) -> None:
    """Raise ValueError if no pixel of black and white images is 1."""
    if not images.max():
        raise ValueError(f"{source}: found no pixel that is 1, expected images of 0 and 1")


def is_black_and_white(images: np.ndarray) -> bool:
    """Return True if each byte is 0 or 255."""
    pieces = (images[start : start + 100] for start in range(0, len(images), 100))
    return all(((piece == 0) | (piece == 255)).all() for piece in pieces)  # ends at the first grey


def count_remark(expected: tuple[int, ...], counts: tuple[int, ...], name: str) -> str:
    """Return "; not the 60000 and 10000 images of MNIST" unless the counts are as expected."""
    if counts == expected:
        return ""
    *first, last = map(str, expected)
    return f"; not the {', '.join(first)} and {last} images of {name}"
