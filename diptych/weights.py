"""Weights in and out: safetensors files with torch's names and layouts, no pickle anywhere."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from model_specs.state import check_state
from numpy_ref.module import DTYPES

METADATA = "diptych"


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model's state_dict, of either panel, to `path`, whole or not at all."""
    save_arrays(path, to_arrays(model.state_dict()))


def load(model: Any, path: str | os.PathLike[str]) -> None:
    """Read `path` into a model of either panel. On any error the model is left as it was.

    Raises: ValueError that names the file and what is wrong with it: missing, truncated, not
    safetensors, or with missing, unexpected, misshapen or non-finite entries (all are listed).
    """
    arrays, _ = load_arrays(path)
    own = to_arrays(model.state_dict())
    counts = {name for name, array in own.items() if array.dtype.kind == "i"}
    other = [
        f"{name} is {array.dtype}"
        for name, array in arrays.items()
        if (array.dtype != own[name].dtype if name in counts else array.dtype not in DTYPES)
    ]
    if other:
        what = "weights are float32 or float64" + (", counts int64" if counts else "")
        raise ValueError(f"{path}: {'; '.join(other)}: {what}")
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
    own = to_arrays(model.state_dict())
    check_state(
        {name: array.shape for name, array in own.items()},
        {name: array.shape for name, array in arrays.items()},
        f"{source}: state_dict",
    )
    state: Mapping[str, Any] = arrays
    if isinstance(model, torch.nn.Module):
        state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    model.load_state_dict(state)


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
    write_atomically(path, to_bytes(contiguous, {METADATA: json.dumps(metadata or {})}))


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read (arrays, metadata) back; metadata of others is left out.

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
