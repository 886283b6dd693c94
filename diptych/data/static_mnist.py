"""Statically binarized MNIST in Larochelle's split: black and white 28x28 digits without labels.

Files: `binarized_mnist_larochelle_packed.npz` (2.3 MB), or else
`binarized_mnist_{train,valid,test}.amat` (text, 110 MB in all), in ROOT, ROOT/static_mnist or
ROOT/binarized_mnist.
Layout: the .npz has keys train, valid, test, uint8 (N, 98): eight pixels a byte, the highest bit
first. An .amat file has one image a line, 784 numbers 0 or 1 separated by blanks.
Size: 50000 train, 10000 valid and 10000 test images.
Checks: shapes and dtypes of the .npz; of an .amat file each line's length and each value.
Origin: Larochelle & Murray, "The neural autoregressive distribution estimator" (2011), after
Salakhutdinov & Murray, "On the quantitative analysis of deep belief networks" (2008).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diptych.data.dataset import Dataset, Root, Split, count, data_root, find_file, reading
from diptych.data.npz import read_npz

SIDE = 28
PIXELS = SIDE * SIDE
SPLITS = ("train", "valid", "test")
FOLDERS = (".", "static_mnist", "binarized_mnist")
NPZ = "binarized_mnist_larochelle_packed.npz"
AMAT = tuple(f"binarized_mnist_{split}.amat" for split in SPLITS)


def load(root: Root = None) -> Dataset:
    """Load the 70000 black and white digits.

    Images keep the order of the file. The published test file is sorted by class: shuffle before
    you take a subset.
    Shapes: x (N, 784) of {0, 1}, y None, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key or line, what was found and what was expected.
    """
    path = find_file(data_root(root), (NPZ, *AMAT), FOLDERS)
    if path.name == NPZ:
        packed, source = read_npz(path, SPLITS, (PIXELS // 8,)), path
        arrays = [np.unpackbits(rows, axis=1) for rows in packed]
    else:
        source = path.parent
        arrays = [read_amat(find_file(source, (name,))) for name in AMAT]
    train, valid, test = (Split(pixels.astype(np.float32, order="C")) for pixels in arrays)
    summary = (
        f"static_mnist: {count(train, valid, test)} of {SIDE}x{SIDE}, "
        f"black and white, without labels, read from {source}"
    )
    return Dataset("static_mnist", train, valid, test, (1, SIDE, SIDE), summary)


def read_amat(path: Path) -> np.ndarray:
    """Read a text file with one image a line: 784 numbers, each 0 or 1, separated by blanks.

    Shapes: (lines, 784) uint8 of {0, 1}.
    Raises: ValueError that names the file, the line, what was found and what was expected.
    """
    rows = []
    with reading(path, "a text file"), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            tokens = line.split()
            if len(tokens) != PIXELS:
                raise ValueError(
                    f"{path}: line {number}: found {len(tokens)} values, expected {PIXELS}"
                )
            row = b"".join(tokens)
            if len(row) != PIXELS or row.strip(b"01"):
                row = _digits(path, number, tokens)
            rows.append(row)
    if not rows:
        raise ValueError(f"{path}: line 1: found an empty file, expected {PIXELS} values a line")
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, PIXELS) - np.uint8(ord("0"))


def _digits(path: Path, number: int, tokens: list[bytes]) -> bytes:
    """Parse a line with other spellings of 0 and 1, such as 1.0; other numbers are an error."""
    row = b""
    for column, token in enumerate(tokens, 1):
        try:
            row += {0.0: b"0", 1.0: b"1"}[float(token)]
        except (ValueError, KeyError):
            value = token[:24].decode("ascii", "backslashreplace")
            raise ValueError(
                f"{path}: line {number}: value {column}: found {value}, expected 0 or 1"
            ) from None
    return row
