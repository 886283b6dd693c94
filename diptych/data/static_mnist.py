"""Statically binarized MNIST, Larochelle's split: packed bits in an .npz, or three text files."""

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
    """70000 black and white 28x28 digits without labels: 50000 / 10000 / 10000 in full.

    Format: an .npz with keys train, valid, test, uint8 (N, 98), eight pixels a byte, first bit
    first, or else the three .amat files of `read_amat`, in ROOT, ROOT/static_mnist or
    ROOT/binarized_mnist. Rows stay in file order, and in the published test file that is by class:
    shuffle before taking a part of it.
    Shapes: x (N, 784) of {0, 1}, y None, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key or line, what was found and what was expected.
    Source: Larochelle & Murray, "The neural autoregressive distribution estimator" (2011), after
    Salakhutdinov & Murray, "On the quantitative analysis of deep belief networks" (2008).
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
    """A text file, an image a line: 784 numbers, each 0 or 1, separated by blanks.

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
    """The slow way, for a line that is not plainly 0s and 1s: 1.0 is a 1, and 2 is an error."""
    row = b""
    for column, token in enumerate(tokens, 1):
        try:
            row += {0.0: b"0", 1.0: b"1"}[float(token)]
        except (ValueError, KeyError):
            result = token[:24].decode("ascii", "backslashreplace")
            raise ValueError(
                f"{path}: line {number}: value {column}: found {result}, expected 0 or 1"
            ) from None
    return row
