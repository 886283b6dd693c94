"""Read the tensors of a safetensors file of any program, also in dtypes that NumPy lacks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from diptych.data import forms
from diptych.files import load_arrays

FLOATS = {"F64", "F32", "F16"}
INTEGERS = {"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
NUMPY_DTYPES = FLOATS | INTEGERS
"""Those dtypes of safetensors that NumPy has."""


class StoredWeights(NamedTuple):
    """The arrays of a file by name, and the dtypes of those entries that were not read."""

    arrays: dict[str, np.ndarray]
    unsupported: dict[str, str]
    """Name -> dtype. Such an entry stands among the arrays with its shape, and its values are 0."""


def read(path: str | os.PathLike[str]) -> StoredWeights:
    """Read all tensors of a safetensors file; bfloat16 becomes float32, which holds each value.

    Raises: ValueError that names the file and what is wrong with it.
    """
    dtypes = _stored_dtypes(path)
    if not dtypes and Path(path).is_file():
        form = forms.describe(forms.read_head(Path(path)))
        if form not in (None, "a safetensors file"):
            raise ValueError(f"{path}: not a whole safetensors file: found {form}")
    if set(dtypes.values()) <= NUMPY_DTYPES:  # also where the header cannot be read
        return StoredWeights(load_arrays(path)[0], {})
    arrays: dict[str, np.ndarray] = {}
    unsupported: dict[str, str] = {}
    with safe_open(path, framework="pt") as file:
        for name, dtype in dtypes.items():
            if dtype in NUMPY_DTYPES:
                arrays[name] = file.get_tensor(name).numpy()
            elif dtype == "BF16":
                arrays[name] = file.get_tensor(name).float().numpy()
            else:
                shape = tuple(file.get_slice(name).get_shape())
                arrays[name] = np.broadcast_to(np.float32(0), shape)
                unsupported[name] = dtype
    return StoredWeights(arrays, unsupported)


def _stored_dtypes(path: str | os.PathLike[str]) -> dict[str, str]:
    """Name -> dtype as in the header of the file; empty if the header cannot be read."""
    if not Path(path).is_file():
        return {}
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return {}
