"""Statically binarized MNIST in Larochelle's split: black and white 28x28 digits without labels.

Files: `binarized_mnist_larochelle_packed.npz` (2.3 MB), or else
`binarized_mnist_{train,valid,test}.amat` (text, 110 MB in all, each plain or `.gz`), in one of
`FOLDERS` below ROOT: ROOT itself, static_mnist, BinaryMNIST (IWAE's code) and others.
Layout: the .npz has keys train, valid, test, uint8 (N, 98): eight pixels a byte, the highest bit
first. An .amat file has one image a line, 784 numbers 0 or 1 separated by blanks.
Size: 50000 train, 10000 valid and 10000 test images.
Checks: shapes and dtypes of the .npz; of an .amat file each line's length and each value; bright
strokes on a dark ground. The summary tells other numbers of images.
Origin: Larochelle & Murray, "The neural autoregressive distribution estimator" (2011), after
Salakhutdinov & Murray, "On the quantitative analysis of deep belief networks" (2008).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from diptych.data import forms
from diptych.data.bounded import Gunzip, Readable, open_regular, read_head
from diptych.data.dataset import Dataset, Root, Split, count, data_root, find_file, find_files
from diptych.data.npz import read_npz
from diptych.data.splits import check_distinct
from diptych.data.values import check_dark_ground, check_ink, count_remark

SIDE = 28
PIXELS = SIDE * SIDE
SPLITS = ("train", "valid", "test")
SIZES = (50_000, 10_000, 10_000)
FOLDERS = (
    *(".", "static_mnist", "binarized_mnist", "BinaryMNIST", "datasets/BinaryMNIST"),
    *("MNIST_static", "datasets/MNIST_static", "mnist"),
)
NPZ = "binarized_mnist_larochelle_packed.npz"
AMAT = tuple(f"binarized_mnist_{split}.amat" for split in SPLITS)
MAX_IMAGES = 1 << 18
"""The most lines that are read of an .amat file."""
_LINE = 1 << 16
_TEXT = "a text file of 0 and 1"


def load(root: Root = None) -> Dataset:
    """Load the 70000 black and white digits.

    Images keep the order of the file. The published test file is sorted by class: shuffle before
    you take a subset.
    Shapes: x (N, 784) of {0, 1}, y None, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key or line, what was found and what was expected.
    """
    root = data_root(root)
    names = (NPZ, *AMAT, *(f"{name}.gz" for name in AMAT))
    path = find_file(root, names, FOLDERS)
    if path.name == NPZ:
        packed, source = read_npz(path, SPLITS, (PIXELS // 8,)), path
        arrays = [np.unpackbits(rows, axis=1) for rows in packed]
        places = [f"{path}: key {split}" for split in SPLITS]
    else:
        paths = find_files(root, [(name, f"{name}.gz") for name in AMAT], FOLDERS)
        source, arrays = paths[0].parent, [read_amat(path) for path in paths]
        places = list(map(str, paths))
    for place, pixels in zip(places, arrays, strict=True):
        check_ink(place, pixels)
        check_dark_ground(place, pixels, 1)
    check_distinct(source, dict(zip(SPLITS, arrays, strict=True)))
    train, valid, test = (Split(pixels.astype(np.float32, order="C")) for pixels in arrays)
    summary = (
        f"static_mnist: {count(train, valid, test)} of {SIDE}x{SIDE}, "
        f"black and white, without labels, read from {source}"
        f"{count_remark(SIZES, tuple(map(len, arrays)), 'Larochelle')}"
    )
    return Dataset("static_mnist", train, valid, test, (1, SIDE, SIDE), summary)


def read_amat(path: Path) -> np.ndarray:
    """Read a text file with one image a line: 784 numbers, each 0 or 1, separated by blanks.

    The text is compressed if and only if the name ends in .gz.
    Shapes: (lines, 784) uint8 of {0, 1}.
    Raises: ValueError that names the file, the line, what was found and what was expected.
    """
    rows = []
    for number, line in enumerate(_lines(path), 1):
        tokens = line.split()
        if len(tokens) != PIXELS:
            raise ValueError(
                f"{path}: line {number}: found {len(tokens)} values, expected {PIXELS}"
            )
        row = b"".join(tokens)
        if len(row) != PIXELS or row.strip(b"01"):
            row = _digits(path, number, tokens)
        rows.append(row)
        if number > MAX_IMAGES:
            raise ValueError(f"{path}: line {number}: found text, expected the file to end")
    if not rows:
        raise ValueError(f"{path}: line 1: found an empty file, expected {PIXELS} values a line")
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, PIXELS) - np.uint8(ord("0"))


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a text file, none longer than `_LINE` bytes."""
    packed = path.suffix == ".gz"
    expected = f"{_TEXT}{', gzipped' if packed else ''}"
    form = forms.describe(read_head(path, forms.HEAD, expected))
    if form != ("a gzip file" if packed else None):
        raise ValueError(f"{path}: found {form or 'no gzip file'}, expected {expected}")
    with open_regular(path, expected) as file:
        source: Readable = Gunzip(file, path) if packed else file
        rest = b""
        while chunk := source.read(_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            if len(rest) > _LINE:
                start = rest[:8].decode("ascii", "backslashreplace")
                raise ValueError(
                    f"{path}: found a line of more than {_LINE} bytes that begins with {start}, "
                    f"expected {PIXELS} values a line"
                )
    if rest:
        yield rest


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
