"""Weights in and out: safetensors files with torch's names and layouts, no pickle anywhere."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from numpy_ref.module import Module


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model's state_dict, of either panel, to `path`, whole or not at all."""
    save_arrays(path, to_arrays(model.state_dict()))


def load(model: Any, path: str | os.PathLike[str]) -> None:
    """Read `path` into a model of either panel. On any error the model is left as it was.

    Raises: ValueError that names the file and what is wrong with it: missing, truncated, not
    safetensors, or with missing, unexpected, misshapen or non-finite entries (all are listed).
    """
    arrays, _ = load_arrays(path)
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise ValueError(f"{path}: NaN or inf in {', '.join(broken)}")
    load_state(model, arrays, source=str(path))


def transfer(source: Any, target: Any) -> None:
    """Copy the weights of one model into another, of the same panel or across.

    Raises: ValueError that lists every missing, unexpected and misshapen entry.
    """
    load_state(target, to_arrays(source.state_dict()), source=type(source).__name__)


def load_state(model: Any, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Give `arrays` to a model of either panel; all of them or none."""
    if isinstance(model, Module):
        try:
            model.load_state_dict(arrays)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        return
    own = model.state_dict()
    problems = [f"missing {name}" for name in own if name not in arrays]
    problems += [f"unexpected {name}" for name in arrays if name not in own]
    problems += [
        f"{name} has shape {arrays[name].shape}, takes {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in arrays and arrays[name].shape != tuple(tensor.shape)
    ]
    if problems:
        raise ValueError(f"{source}: state_dict: " + "; ".join(problems))
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})


def to_arrays(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A state_dict of either panel as NumPy arrays."""
    return {
        name: value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for name, value in state.items()
    }


def save_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write named arrays and JSON-able metadata as one safetensors file, atomically."""
    contiguous = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    text = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    write_atomically(path, to_bytes(contiguous, text))


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read (arrays, metadata) back. Raises: ValueError that names the file and the fault."""
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (SafetensorError, OSError, json.JSONDecodeError, struct.error) as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from None
    return arrays, metadata


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write beside `path`, flush to disk, and rename over it: readers see the old file or the new.

    Raises: ValueError where the folder cannot be written.
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
