"""Iterate over, map and convert arrays nested in tuples, lists, mappings and dataclasses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch


def items(value: Any) -> Iterator[tuple[str, Any]] | None:
    """(name, item) of each item of a container: ".mu", ".state" or "[1]". None for anything else.

    Containers are NamedTuples, dataclasses, mappings, tuples and lists. A mapping that also has
    attributes, such as the ModelOutput of transformers, counts as a mapping.
    """
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return ((f".{field}", getattr(value, field)) for field in value._fields)
    if isinstance(value, Mapping):
        return ((_key_name(key), item) for key, item in value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value))
        return ((f".{name}", getattr(value, name)) for name in fields if hasattr(value, name))
    if isinstance(value, tuple | list):
        return ((f"[{i}]", item) for i, item in enumerate(value))
    return None


def _key_name(key: Any) -> str:
    """ ".mu" for a name, "[0]" or "['a.b']" for any other key."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def leaves(value: Any, name: str = "", *, numbers: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield (name, array) for each array in `value`: names such as ".mu", "[1]" or ".state.h".

    With `numbers`, Python's numbers count as arrays too.
    """
    if is_array(value) or (numbers and isinstance(value, bool | int | float | complex)):
        yield name, value
        return
    for suffix, item in items(value) or ():
        yield from leaves(item, f"{name}{suffix}", numbers=numbers)


def strange_leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, type) of each item that is neither an array, a container, a number nor None."""
    if is_array(value) or value is None or isinstance(value, bool | int | float | complex | str):
        return
    contents = items(value)
    if contents is None:
        yield name, type(value).__name__
        return
    for suffix, item in contents:
        yield from strange_leaves(item, f"{name}{suffix}")


def map_arrays(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply `function` to each array in `value`; anything else is kept."""
    if is_array(value):
        return function(value)
    contents = items(value)
    if contents is None:
        return value
    mapped = [map_arrays(function, item) for _, item in contents]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*mapped)
    if isinstance(value, Mapping):
        return _with_items(value, dict(zip(value, mapped, strict=True)))
    if isinstance(value, tuple | list):
        # a subclass, such as torch.Size, may take other arguments
        return type(value)(mapped) if any(map(_contains_array, mapped)) else value
    clone = copy.copy(value)
    names = (name[1:] for name, _ in items(value) or ())
    for name, item in zip(names, mapped, strict=True):
        object.__setattr__(clone, name, item)  # a dataclass may be frozen
    return clone


def _with_items(value: Any, mapped: dict[Any, Any]) -> Any:
    """A mapping of the same type as `value`; of a type that cannot be assigned to, a dict."""
    if type(value) is dict:
        return mapped
    try:
        clone = copy.copy(value)
        for key, item in mapped.items():
            clone[key] = item
    except TypeError:
        return mapped
    return clone


def _contains_array(value: Any) -> bool:
    return next(leaves(value), None) is not None


def base_arrays(value: Any, kind: type[np.ndarray]) -> Any:
    """The value with base arrays in place of those of a subclass; containers item by item."""
    if isinstance(value, kind):
        return value.view(np.ndarray)
    if type(value) in (tuple, list):
        return type(value)(base_arrays(item, kind) for item in value)
    if type(value) is dict:
        return {key: base_arrays(item, kind) for key, item in value.items()}
    return value


def is_array(value: Any) -> bool:
    """True for NumPy arrays, NumPy scalars and torch tensors."""
    return isinstance(value, np.ndarray | np.generic | torch.Tensor)


def to_numpy(value: Any) -> np.ndarray:
    """Copy an array or a tensor to a NumPy array: sparse tensors dense, bfloat16 as float32."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        if value.layout is not torch.strided:
            value = value.to_dense()
        if value.dtype in _WITHOUT_NUMPY_DTYPE:
            value = value.float()
        value = value.cpu().resolve_conj().resolve_neg().numpy()
    return np.array(value)


_WITHOUT_NUMPY_DTYPE = {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}


def is_float(value: Any) -> bool:
    """True if the dtype of an array or a tensor is a floating-point type."""
    if isinstance(value, torch.Tensor):
        return value.is_floating_point()
    return np.issubdtype(np.asarray(value).dtype, np.floating)


def cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Cast a floating-point array to `dtype`; return any other array unchanged."""
    return array.astype(dtype) if is_float(array) else array


def to_device(value: Any, device: torch.device) -> torch.Tensor:
    """Convert an array or a tensor to a tensor on `device`, without waiting for the device.

    An upload is made from pinned memory: from any other, the host would wait until the device has
    finished all its work and the copy.
    """
    tensor = torch.as_tensor(value)
    if device.type == "cpu" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_tensors(value: Any, device: torch.device, *, track: bool = True) -> Any:
    """Convert each array in `value` to a tensor on `device`.

    With `track`, floating-point tensors require gradients.
    """

    def convert(array: Any) -> torch.Tensor:
        tensor = torch.from_numpy(to_numpy(array)).to(device)
        return tensor.requires_grad_() if track and tensor.is_floating_point() else tensor

    return map_arrays(convert, value)
