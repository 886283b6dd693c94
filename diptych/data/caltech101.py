"""Caltech-101 Silhouettes: black and white 28x28 object outlines, filled, from a MATLAB file.

File: `caltech101_silhouettes_28_split1.mat` (MATLAB 5, 0.9 MB), in ROOT or
ROOT/caltech101_silhouettes.
Layout: keys `{train,val,test}_data`, (N, 784) of {0, 1}, and `{train,val,test}_labels`, (N, 1) of
1 .. 101. In the file 1 is the background and the pixels of an image run down its columns. Here 1 is
the silhouette, as in papers (1 - x), and pixels run along rows.
Size: 4100 train, 2264 valid and 2307 test images.
Checks: every key is present; shapes agree; each value is a whole number within its limits; the
corners are background; no split repeats another. The summary tells other numbers of images.
Origin: Marlin, Swersky, Chen & de Freitas, "Inductive principles for restricted Boltzmann machine
learning" (2010), after the outlines of Fei-Fei, Fergus & Perona (2004).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diptych.data.dataset import Dataset, Root, Split, count, data_root, find_file
from diptych.data.mat import read_matrices
from diptych.data.splits import check_distinct
from diptych.data.values import count_remark

SIDE = 28
PIXELS = SIDE * SIDE
CLASSES = 101
MAT = "caltech101_silhouettes_28_split1.mat"
FOLDERS = (".", "caltech101_silhouettes")
PARTS = ("train", "val", "test")
COUNTS = (4100, 2264, 2307)
MAX_IMAGES = 10_000
"""Images that one matrix may have; a header that declares more is refused."""


def load(root: Root = None) -> Dataset:
    """Load the 8671 labelled silhouettes; 1 is the silhouette, 0 the background.

    Images and labels keep the order of the file.
    Shapes: x (N, 784) of {0, 1}, y (N,) in 1 .. 101, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    path = find_file(data_root(root), (MAT,), FOLDERS)
    splits = read_mat(path)
    check_distinct(
        path, {f"key {part}_data": x for part, (x, _) in zip(PARTS, splits, strict=True)}
    )
    train, valid, test = (Split(_silhouettes(pixels), labels) for pixels, labels in splits)
    summary = (
        f"caltech101_silhouettes: {count(train, valid, test)} of {SIDE}x{SIDE}, "
        f"black and white, with labels, read from {path}"
    )
    summary += count_remark(COUNTS, (len(train), len(valid), len(test)), "the published split")
    return Dataset("caltech101_silhouettes", train, valid, test, (1, SIDE, SIDE), summary)


def read_mat(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the pixels and the labels of train, val and test, in this order.

    Shapes: pixels (N, 784) of the file's dtype, labels (N,) int64, 1 <= N <= 10000.
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    keys = [f"{part}_{kind}" for part in PARTS for kind in ("data", "labels")]
    arrays = read_matrices(path, keys, MAX_IMAGES * PIXELS)
    splits = []
    for part in PARTS:
        pixels, labels = arrays[f"{part}_data"], arrays[f"{part}_labels"]
        _check(path, f"{part}_data", pixels, (None, PIXELS), (0, 1))
        _check(path, f"{part}_labels", labels, (len(pixels), 1), (1, CLASSES))
        _check_polarity(path, f"{part}_data", pixels)
        splits.append((pixels, labels[:, 0].astype(np.int64)))
    return splits


def _check(
    path: Path, key: str, array: np.ndarray, shape: tuple[int | None, int], limits: tuple[int, int]
) -> None:
    """Raise ValueError unless `array` is a matrix of `shape` of whole numbers within `limits`.

    A size of None means one row or more.
    """
    (rows, columns), (low, high) = shape, limits
    expected = f"({rows or 'N >= 1'}, {columns}) of whole numbers {low} to {high}"
    if array.ndim != 2 or not len(array) or array.shape != (rows or len(array), columns):
        hint = ", transposed?" if array.shape == (columns, rows or array.shape[-1]) else ""
        raise ValueError(f"{path}: key {key}: found {array.shape}{hint}, expected {expected}")
    valid = (array >= low) & (array <= high) & (array == np.rint(array))  # False for NaN
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        value = f"{array[row, column]:g}"
        if high == 1 and not ((array != 0) & (array != 255)).any():
            value += " for 1, all values are 0 or 255"
        raise ValueError(f"{path}: key {key}: row {row}: found {value}, expected {expected}")


def _check_polarity(path: Path, key: str, background: np.ndarray) -> None:
    """Raise ValueError if the corners are 0 in most images; in the published file all are 1."""
    corners = background[:, [0, SIDE - 1, PIXELS - SIDE, PIXELS - 1]]
    if 2 * np.count_nonzero(corners) < corners.size:
        raise ValueError(
            f"{path}: key {key}: found 0 in most corners of the images, expected 1, which is the "
            "background in this file: inverted?"
        )


def _silhouettes(background: np.ndarray) -> np.ndarray:
    """Invert column-major images of the background to row-major images of the silhouette."""
    images = background.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return np.subtract(1, images.reshape(-1, PIXELS), dtype=np.float32)
