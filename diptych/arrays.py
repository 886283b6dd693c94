"""Iterate over, map and convert arrays nested in tuples, NamedTuples, lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, array) for each array in `value`: names such as ".mu", "[1]" or ".state.h"."""
    if is_array(value):
        yield name, value
    elif hasattr(value, "_fields"):
        for field in value._fields:
            yield from leaves(getattr(value, field), f"{name}.{field}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{name}.{key}")
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            yield from leaves(item, f"{name}[{i}]")


def map_arrays(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply `function` to each array in `value`; anything else is kept."""
    if is_array(value):
        return function(value)
    if hasattr(value, "_fields"):
        return type(value)(*(map_arrays(function, item) for item in value))
    if isinstance(value, dict):
        return {key: map_arrays(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map_arrays(function, item) for item in value)
    return value


def is_array(value: Any) -> bool:
    """True for NumPy arrays, NumPy scalars and torch tensors."""
    return isinstance(value, np.ndarray | np.generic | torch.Tensor)


def to_numpy(value: Any) -> np.ndarray:
    """Copy an array or a tensor to a NumPy array."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return np.array(value)


def is_float(value: Any) -> bool:
    """True if the dtype of an array or a tensor is a floating-point type."""
    if isinstance(value, torch.Tensor):
        return value.is_floating_point()
    return np.issubdtype(np.asarray(value).dtype, np.floating)


def cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Cast a floating-point array to `dtype`; return any other array unchanged."""
    return array.astype(dtype) if is_float(array) else array


def to_tensors(value: Any, device: torch.device, *, track: bool = True) -> Any:
    """Convert each array in `value` to a tensor on `device`.

    With `track`, floating-point tensors require gradients.
    """

    def convert(array: Any) -> torch.Tensor:
        tensor = torch.from_numpy(to_numpy(array)).to(device)
        return tensor.requires_grad_() if track and tensor.is_floating_point() else tensor

    return map_arrays(convert, value)
