"""Read .npz archives of uint8 images; pickles inside them are never opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.data.dataset import reading

ZIP = b"PK\x03\x04"


def read_npz(path: Path, keys: Sequence[str], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Read the arrays `keys` of an .npz archive, one example of `shape` a row.

    Shapes: each (N, *shape) uint8, N >= 1.
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    with reading(path, "an .npz archive"), path.open("rb") as file:
        magic = file.read(len(ZIP))
        if magic != ZIP:  # np.load would read it as a .npy file or a pickle
            start = magic.hex(" ") or "nothing"
            raise ValueError(f"{path}: offset 0: found {start}, expected a zip's {ZIP.hex(' ')}")
        file.seek(0)
        with reading(path, "an .npz archive", Exception):  # zipfile raises a dozen types
            archive = np.load(file, allow_pickle=False)
        with archive:
            for key in keys:
                if key not in archive.files:
                    present, expected = ", ".join(archive.files) or "none", ", ".join(keys)
                    raise ValueError(
                        f"{path}: key {key}: missing, found {present}, expected {expected}"
                    )
            return [_examples(path, archive, key, shape) for key in keys]


def _examples(
    path: Path, archive: np.lib.npyio.NpzFile, key: str, shape: tuple[int, ...]
) -> np.ndarray:
    expected = f"uint8 ({', '.join(map(str, ('N', *shape)))}) with N >= 1"
    with reading(path, f"{expected} in key {key}", Exception):
        array = archive[key]
    if not isinstance(array, np.ndarray):  # numpy returns zip members that are not .npy as bytes
        raise ValueError(f"{path}: key {key}: found raw bytes, expected {expected}")
    if array.dtype != np.uint8 or array.ndim == 0 or not len(array) or array.shape[1:] != shape:
        raise ValueError(
            f"{path}: key {key}: found {array.dtype} {array.shape}, expected {expected}"
        )
    return array
