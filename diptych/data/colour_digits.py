"""Digits of a global colour and a local texture, whose entropies are known.

Every image is one of the embedded digits m, enlarged to S x S and in [0, 1], drawn once:

    luma     Y[p] = 90 + round(72 m[p]) + t[p],  t[p] uniform on {-8, ..., 8}, one draw a pixel p
    colour   x[p] = (Y[p], Y[p], Y[p]) + i (15, -9, 7) + j (11, 1, -34), i and j uniform on
             {-2, ..., 2}, one draw an image

Global: the colour has 25 values, 2 ln 5 = 3.22 nats an image. Every pixel shows it, so a decoder
that reads one earlier pixel in colour knows it. A decoder that reads grey values does not: both
offsets have 0.299 R + 0.587 G + 0.114 B = 0, so that the luma of a pixel is Y for every colour.

Local: the texture has ln 17 = 2.83 nats a pixel, 725 nats for 16 x 16 and 2901 for 32 x 32. It is
independent of all other pixels, so no decoder can predict it. The digit's shape lies between the
two: part of each stroke can be predicted from the pixels next to it.

Files: none; `sklearn.datasets.load_digits` ships with scikit-learn.
Layout: pixels are integers from 0 to 255, divided by 255, in the splits and the order of `digits`;
labels are the digits. The draws are those of Key(0).fold_in("colour_digits"), integer functions of
Philox's bits, the same on every machine; `load_factors` gives them.
Size: 1297 train, 200 valid and 300 test images of 3 x 16 x 16 or 3 x 32 x 32.
Origin: see the module digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from diptych.data import digits
from diptych.data.dataset import Dataset, Root, Split, check_size, count
from model_specs.common.key import Key
from numpy_ref.nn.random import uniform

SIZES = (16, 32)
SIZE = 16
"""The size of the images if none is named."""
DARKEST, CONTRAST, TEXTURE = 90, 72, 8
"""Luma of the background, of a stroke above it, and the largest texture, in levels of 256."""
REACH = 2
"""The colours are the points (i, j) of a grid, |i| and |j| <= REACH."""
OFFSETS = ((15, -9, 7), (11, 1, -34))
"""The two shortest integer vectors (R, G, B) without luma: 299 R + 587 G + 114 B = 0."""
SIDE = 2 * REACH + 1
COLOUR_NATS = 2 * float(np.log(SIDE))
"""Entropy of an image's colour."""
TEXTURE_NATS = float(np.log(2 * TEXTURE + 1))
"""Entropy of the texture of a pixel."""


class Factors(NamedTuple):
    """The factors of the N images of a split, in the order of its rows."""

    digit: np.ndarray  # (N,), 0 .. 9
    colour: np.ndarray  # (N, 2), i and j, -2 .. 2
    texture: np.ndarray  # (N, S, S), -8 .. 8


def load(root: Root = None, size: int = SIZE) -> Dataset:
    """Load the coloured digits of `size` x `size` pixels, 16 or 32. `root` is not used.

    Shapes: x (N, 3 S S), y (N,), image_shape (3, S, S).
    Raises: ValueError for another size.
    """
    check_size(size, SIZES)
    grey = digits.load(root)
    train, valid, test = (
        Split(_images(part.x, factors), part.y)
        for part, factors in zip(
            (grey.train, grey.valid, grey.test), _factors(grey, size), strict=True
        )
    )
    summary = f"colour_digits: {count(train, valid, test)} of 3x{size}x{size} with labels, drawn "
    summary += "from the digits embedded in scikit-learn"
    return Dataset("colour_digits", train, valid, test, (3, size, size), summary)


def load_factors(size: int = SIZE) -> dict[str, Factors]:
    """Return the factors of the images of `load`, by split: train, valid and test.

    Raises: ValueError for another size than 16 and 32.
    """
    check_size(size, SIZES)
    return dict(zip(("train", "valid", "test"), _factors(digits.load(), size), strict=True))


def _factors(grey: Dataset, size: int) -> Iterator[Factors]:
    for name in ("train", "valid", "test"):
        part, key = getattr(grey, name), Key(0).fold_in("colour_digits").fold_in(name)
        colour = _integers(key.fold_in("colour"), (len(part), 2), REACH)
        texture = _integers(key.fold_in(f"texture {size}"), (len(part), size, size), TEXTURE)
        yield Factors(part.y, colour, texture)


def _images(x: np.ndarray, factors: Factors) -> np.ndarray:
    """Pixels (N, 3 S S) in [0, 1] of the digits x (N, 64)."""
    N, size, _ = factors.texture.shape
    shape = digits.enlarged(x, size // 8).reshape(N, size, size)
    strokes = np.floor(CONTRAST * shape.astype(np.float64) + 0.5).astype(np.int64)
    luma = DARKEST + strokes + factors.texture
    levels = luma[:, None] + (factors.colour @ np.array(OFFSETS))[:, :, None, None]
    return (levels.reshape(N, -1) / np.float32(255)).astype(np.float32)


def _integers(key: Key, shape: tuple[int, ...], reach: int) -> np.ndarray:
    """Independent draws, uniform on {-reach, ..., reach}."""
    return np.floor(uniform(key, shape) * (2 * reach + 1)).astype(np.int64) - reach
