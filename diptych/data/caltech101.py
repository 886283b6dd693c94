"""Caltech-101 Silhouettes at 28x28: the outlines of things, filled, in a MATLAB file."""

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
    """8671 black and white silhouettes with labels: 4100 / 2264 / 2307 in full.

    Format: the .mat of `read_mat`, in ROOT or ROOT/caltech101_silhouettes. There 1 is the ground
    and pixels go down the columns; here 1 is the silhouette, as in papers (1 - x), and pixels go
    along the rows. Rows and labels stay as they are in the file: labels are 1 .. 101.
    Shapes: x (N, 784) of {0, 1}, y (N,) in 1 .. 101, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key, what was found and what was expected.
    Source: Marlin, Swersky, Chen & de Freitas, "Inductive principles for restricted Boltzmann
    machine learning" (2010), after the outlines of Fei-Fei, Fergus & Perona (2004).
    """
    path = find_file(data_root(root), (MAT,), FOLDERS)
    train, valid, test = (Split(_upright(ground), labels) for ground, labels in read_mat(path))
    summary = (
        f"caltech101_silhouettes: {count(train, valid, test)} of {SIDE}x{SIDE}, "
        f"black and white, with labels, read from {path}"
    )
    return Dataset("caltech101_silhouettes", train, valid, test, (1, SIDE, SIDE), summary)


def read_mat(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels and labels of the three splits: keys train_data, train_labels, val_..., test_...

    Shapes: in the file (N, 784) of {0, 1} and (N, 1) in 1 .. 101, of any real type; returned
    (N, 784) of the file's type and (N,) int64. N >= 1.
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
    """Raise for what is not a matrix of `shape` (None: any but 0) of whole numbers in `limits`."""
    (rows, columns), (low, high) = shape, limits
    expected = f"({rows or 'N >= 1'}, {columns}) of whole numbers {low} to {high}"
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
        result = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{path}: key {key}: found {result}, expected {expected}")
    if array.ndim != 2 or not len(array) or array.shape != (rows or len(array), columns):
        raise ValueError(f"{path}: key {key}: found {array.shape}, expected {expected}")
    wrong = ~((array >= low) & (array <= high) & (array == np.rint(array)))  # NaN is wrong as well
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        value = array[row, column]
        raise ValueError(f"{path}: key {key}: row {row}: found {value:g}, expected {expected}")


def _upright(ground: np.ndarray) -> np.ndarray:
    """Columns of the ground to rows of the silhouette."""
    images = ground.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return np.subtract(1, images.reshape(-1, PIXELS), dtype=np.float32)
