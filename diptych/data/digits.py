"""Handwritten 8x8 digits embedded in scikit-learn: no file and no download is needed.

Files: none; `sklearn.datasets.load_digits` ships with scikit-learn.
Layout: pixels are counts 0 .. 16 in scikit-learn and 0 .. 1 here (/ 16, exact in float32). Rows are
shuffled by permutation(Key(0).fold_in("digits"), 1797), then cut into the three splits.
Size: 1297 train, 200 valid and 300 test images. Variants: enlarged to 16x16, and black and white.
Origin: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998), the test file.
It does not record who wrote which digit, so the splits share writers.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diptych.data.dataset import Dataset, Root, Split, count
from model_specs.common.key import Key
from numpy_ref.nn.random import permutation

TRAIN, VALID, TEST = 1297, 200, 300


def load(root: Root = None) -> Dataset:
    """Load the 1797 grey digits with labels. `root` is not used.

    Shapes: x (N, 64), y (N,), image_shape (1, 8, 8).
    """
    # imported here because it takes a second, which other data sets need not spend
    from sklearn.datasets import load_digits  # noqa: PLC0415

    counts, labels = load_digits(return_X_y=True)
    order = permutation(Key(0).fold_in("digits"), TRAIN + VALID + TEST)
    x, y = (counts / 16).astype(np.float32)[order], labels.astype(np.int64)[order]
    first, second = TRAIN, TRAIN + VALID
    train, valid, test = (
        Split(x[rows], y[rows])
        for rows in (slice(first), slice(first, second), slice(second, None))
    )
    summary = f"digits: {count(train, valid, test)} of 8x8 with labels, embedded in scikit-learn"
    return Dataset("digits", train, valid, test, (1, 8, 8), summary)


def load_enlarged(root: Root = None) -> Dataset:
    """Load the digits enlarged to 16x16, for models that halve an image four times.

    Shapes: x (N, 256), y (N,), image_shape (1, 16, 16).
    """
    small = load(root)
    train, valid, test = (
        Split(enlarged(part.x, 2), part.y) for part in (small.train, small.valid, small.test)
    )
    summary = f"digits16: {count(train, valid, test)} of 8x8 enlarged to 16x16 with labels, "
    summary += "embedded in scikit-learn"
    return Dataset("digits16", train, valid, test, (1, 16, 16), summary)


def load_binary(root: Root = None) -> Dataset:
    """Load the 8x8 digits in black and white: 1 where x >= 1/2.

    37151 of the 1797 x 64 pixels are 1 (32.3 %).
    Shapes: x (N, 64) of {0, 1}, y (N,), image_shape (1, 8, 8).
    """
    return _black_and_white(load(root), "binary_digits", "of 8x8")


def load_binary_enlarged(root: Root = None) -> Dataset:
    """Load the enlarged digits in black and white: 1 where x >= 1/2.

    Strokes have smooth edges, so a pixel is largely predictable from its neighbours. 141403 of the
    1797 x 256 pixels are 1 (30.7 %).
    Shapes: x (N, 256) of {0, 1}, y (N,), image_shape (1, 16, 16).
    """
    return _black_and_white(load_enlarged(root), "binary_digits16", "of 8x8 enlarged to 16x16")


def _black_and_white(grey: Dataset, name: str, size: str) -> Dataset:
    train, valid, test = (
        Split((part.x >= 0.5).astype(np.float32), part.y)
        for part in (grey.train, grey.valid, grey.test)
    )
    summary = f"{name}: {count(train, valid, test)} {size}, black and white, with labels, "
    summary += "embedded in scikit-learn"
    return Dataset(name, train, valid, test, grey.image_shape, summary)


def enlarged(x: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge digits (N, 64) by a factor f, 2 or 4, along each axis.   -> (N, 64 f f)

    Bilinear interpolation: output pixel i lies at (i + 1/2) / f - 1/2 of the input, whose edge
    pixels are repeated outwards. For f = 2 a pixel is, along each axis, 3/4 of the nearest input
    pixel plus 1/4 of the second nearest. This is exact in float32 and stays in [0, 1].
    """
    images = x.reshape(-1, 8, 8)
    large = ndimage.zoom(images, (1, factor, factor), order=1, mode="nearest", grid_mode=True)
    return np.ascontiguousarray(large.reshape(len(x), -1))
