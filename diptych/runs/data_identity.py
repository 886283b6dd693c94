"""The identity of the data of a run: a digest of each part, and names whose paths are absolute.

run.json stores `data_digests`, one digest a part: the images and labels of each split and their
shape, or the token ids of each split and the vocabulary. Runs of version 0.1.0 have a single
`data_digest` of the train and valid arrays, which is still checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from diptych.data import PARAMETRIC, Data, canonical
from diptych.files import digest

PATHS = ("PATH", "FOLDER")
"""Arguments of data set names that are paths, as PARAMETRIC writes them."""
TRAINED_ON = ("train images", "valid images", "train tokens", "valid tokens")
"""The parts in the single digest of version 0.1.0, which left out test, labels and vocabulary."""


def data_digests(dataset: Data) -> dict[str, str]:
    """Return the digest of each named part of the data.

    The parts are hashed in parallel, because hashlib releases the GIL.
    """
    contents = dataset.contents
    with ThreadPoolExecutor(max(1, len(contents))) as pool:
        return dict(zip(contents, pool.map(array_digest, contents.values()), strict=True))


def data_digest(dataset: Data) -> str:
    """Return the single digest of the train and valid arrays that version 0.1.0 stored."""
    arrays = [array for name, array in dataset.contents.items() if name in TRAINED_ON]
    return digest(*(part for a in arrays for part in (str(a.shape).encode(), _bytes(a))))


def differing_parts(settings: Mapping[str, Any], dataset: Data) -> list[str]:
    """Return the names of the parts in which `dataset` differs from the data of a run.

    `settings` are the contents of run.json. A run.json without any digest differs in all parts.
    """
    stored = settings.get("data_digests")
    if isinstance(stored, dict):
        current = data_digests(dataset)
        return [name for name in current | stored if stored.get(name) != current.get(name)]
    if "data_digests" not in settings and settings.get("data_digest") == data_digest(dataset):
        return []
    return [name for name in dataset.contents if name in TRAINED_ON] or ["task"]


def absolute_name(name: str) -> str:
    """Return the name of a data set with an absolute path, if its argument is a path.

    "text:book.txt" in the folder /home/ada becomes "text:/home/ada/book.txt"; other names stay
    unchanged.
    """
    if not names_path(name):
        return name
    head, _, path = name.partition(":")
    return f"{head}:{os.path.abspath(Path(path).expanduser())}"


def names_path(name: str) -> bool:
    """True if the name of a data set ends in the path of a file or a folder, as text:PATH does."""
    head, colon, path = str(name).partition(":")
    forms = (form.partition(":") for form in PARAMETRIC)
    return bool(path) and (head, colon) in {(h, c) for h, c, argument in forms if argument in PATHS}


def is_same_source(name: str, other: str) -> bool:
    """True if two names may stand for the same data: equal but for a path or for defaults.

    A default that a name states is that of "colour_digits:16", which is colour_digits.

    Whether the data are the same is then decided by their digests.
    """
    if names_path(name) and names_path(other):
        return name.partition(":")[0] == other.partition(":")[0]
    return canonical(name) == canonical(other)


def array_digest(array: np.ndarray) -> str:
    """Return the digest of an array: of its dtype, shape and bytes."""
    return digest(f"{array.dtype.str} {array.shape};".encode(), _bytes(array))


def _bytes(array: np.ndarray) -> Any:
    """Return the bytes of an array in C order, without a copy if it is in C order already."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
