"""Archives of images: .npz files of uint8 arrays, in which pickles are never opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.data.dataset import reading

ZIP = b"PK\x03\x04"


def read_npz(path: Path, keys: Sequence[str], shape: tuple[int, ...]) -> list[np.ndarray]:
    """The arrays of an .npz under `keys`, one example of `shape` a row.

    Shapes: each (N, *shape) uint8, N >= 1.
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    with reading(path, "an .npz archive"), path.open("rb") as file:
        magic = file.read(len(ZIP))
        if magic != ZIP:  # np.load would take it for a .npy or a pickle
            result = magic.hex(" ") or "nothing"
            raise ValueError(f"{path}: offset 0: found {result}, expected a zip's {ZIP.hex(' ')}")
        file.seek(0)
        with reading(path, "an .npz archive", Exception):  # zipfile raises a dozen types
            archive = np.load(file, allow_pickle=False)
        with archive:
            for key in keys:
                if key not in archive.files:
                    result, takes = ", ".join(archive.files) or "none", ", ".join(keys)
                    raise ValueError(
                        f"{path}: key {key}: missing, found {result}, expected {takes}"
                    )
            return [_examples(path, archive, key, shape) for key in keys]


def _examples(
    path: Path, archive: np.lib.npyio.NpzFile, key: str, shape: tuple[int, ...]
) -> np.ndarray:
    expected = f"uint8 ({', '.join(map(str, ('N', *shape)))}) with N >= 1"
    with reading(path, f"{expected} in key {key}", Exception):
        array = archive[key]
    if not isinstance(array, np.ndarray):  # a member of the zip that is no .npy comes as bytes
        raise ValueError(f"{path}: key {key}: found raw bytes, expected {expected}")
    if array.dtype != np.uint8 or array.ndim == 0 or not len(array) or array.shape[1:] != shape:
        result = f"{array.dtype} {array.shape}"
        raise ValueError(f"{path}: key {key}: found {result}, expected {expected}")
    return array
