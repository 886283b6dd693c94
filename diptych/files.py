"""Atomic file writes: bytes, JSON, and safetensors files of named arrays with JSON metadata."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

METADATA = "diptych"


def save_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write named arrays and JSON-able metadata as one safetensors file, atomically."""
    contiguous = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    write_atomically(path, to_bytes(contiguous, {METADATA: json.dumps(metadata or {})}))


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read (arrays, metadata); metadata that other programs wrote is ignored.

    Raises: ValueError that names the file and the fault.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = (file.metadata() or {}).get(METADATA, "{}")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except TypeError as error:
        raise ValueError(f"{path}: holds a dtype that NumPy lacks ({error})") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from None
    try:
        return arrays, json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: metadata {METADATA!r} is not JSON ({error})") from None


def write_json(path: str | os.PathLike[str], value: Any, *, allow_nan: bool = True) -> None:
    """Write a value as indented JSON, atomically.

    Raises: ValueError for NaN and inf unless `allow_nan`.
    """
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=allow_nan) + "\n").encode())


def digest(*contents: bytes) -> str:
    """Return the BLAKE2b hash of the concatenated contents, in hexadecimal."""
    state = hashlib.blake2b(digest_size=16)
    for content in contents:
        state.update(content)
    return state.hexdigest()


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to a temporary file in the same folder, then rename it to `path`.

    A reader sees either the old file or the new one, also after a crash.
    Raises: ValueError if the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ValueError(f"{path}: cannot write there ({error.strerror})") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
