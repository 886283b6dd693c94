"""Caltech-101 Silhouettes: black and white 28x28 object outlines, filled, from a MATLAB file.

File: `caltech101_silhouettes_28_split1.mat` (MATLAB 5, 0.9 MB), in ROOT or
ROOT/caltech101_silhouettes.
Layout: keys `{train,val,test}_data`, (N, 784) of {0, 1}, and `{train,val,test}_labels`, (N, 1) of
1 .. 101. In the file 1 is the background and the pixels of an image run down its columns. Here 1 is
the silhouette, as in papers (1 - x), and pixels run along rows.
Size: 4100 train, 2264 valid and 2307 test images.
Checks: every key is present; shapes agree; each value is a whole number within its limits.
Origin: Marlin, Swersky, Chen & de Freitas, "Inductive principles for restricted Boltzmann machine
learning" (2010), after the outlines of Fei-Fei, Fergus & Perona (2004).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from diptych.data.dataset import Dataset, Root, Split, count, data_root, find_file, reading

SIDE = 28
PIXELS = SIDE * SIDE
CLASSES = 101
MAT = "caltech101_silhouettes_28_split1.mat"
FOLDERS = (".", "caltech101_silhouettes")
PARTS = ("train", "val", "test")


def load(root: Root = None) -> Dataset:
    """Load the 8671 labelled silhouettes; 1 is the silhouette, 0 the background.

    Images and labels keep the order of the file.
    Shapes: x (N, 784) of {0, 1}, y (N,) in 1 .. 101, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    path = find_file(data_root(root), (MAT,), FOLDERS)
    train, valid, test = (Split(_silhouettes(pixels), labels) for pixels, labels in read_mat(path))
    summary = (
        f"caltech101_silhouettes: {count(train, valid, test)} of {SIDE}x{SIDE}, "
        f"black and white, with labels, read from {path}"
    )
    return Dataset("caltech101_silhouettes", train, valid, test, (1, SIDE, SIDE), summary)


def read_mat(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the pixels and the labels of train, val and test, in this order.

    Shapes: pixels (N, 784) of the file's dtype, labels (N,) int64, N >= 1.
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    keys = [f"{part}_{kind}" for part in PARTS for kind in ("data", "labels")]
    with reading(path, "a whole MATLAB 5 file", Exception):  # scipy raises a dozen types
        arrays = loadmat(path, appendmat=False, variable_names=keys)
    for key in keys:
        if key not in arrays:
            raise ValueError(f"{path}: key {key}: missing, expected {', '.join(keys)}")
    splits = []
    for part in PARTS:
        pixels, labels = arrays[f"{part}_data"], arrays[f"{part}_labels"]
        _check(path, f"{part}_data", pixels, (None, PIXELS), (0, 1))
        _check(path, f"{part}_labels", labels, (len(pixels), 1), (1, CLASSES))
        splits.append((pixels, labels[:, 0].astype(np.int64)))
    return splits


def _check(
    path: Path, key: str, array: object, shape: tuple[int | None, int], limits: tuple[int, int]
) -> None:
    """Raise ValueError unless `array` is a matrix of `shape` of whole numbers within `limits`.

    A size of None means one row or more.
    """
    (rows, columns), (low, high) = shape, limits
    expected = f"({rows or 'N >= 1'}, {columns}) of whole numbers {low} to {high}"
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
        dtype = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{path}: key {key}: found {dtype}, expected {expected}")
    if array.ndim != 2 or not len(array) or array.shape != (rows or len(array), columns):
        raise ValueError(f"{path}: key {key}: found {array.shape}, expected {expected}")
    valid = (array >= low) & (array <= high) & (array == np.rint(array))  # False for NaN
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        value = array[row, column]
        raise ValueError(f"{path}: key {key}: row {row}: found {value:g}, expected {expected}")


def _silhouettes(background: np.ndarray) -> np.ndarray:
    """Invert column-major images of the background to row-major images of the silhouette."""
    images = background.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return np.subtract(1, images.reshape(-1, PIXELS), dtype=np.float32)
