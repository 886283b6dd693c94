"""Load named arrays into a model: tied parameters, casts that keep the values, wrappers' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from model_specs.common.state import check_state, shapes_of
from numpy_ref.nn.module import Module

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Attributes under which DataParallel, torch.compile, FSDP and activation checkpointing hold the
model that they wrap."""

T = TypeVar("T")


def to_arrays(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Convert a state_dict of either panel to NumPy arrays."""
    return {
        name: value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for name, value in state.items()
    }


def placeholders(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of zeros, in no memory, with the shapes and dtypes of a state_dict of either panel.

    Nothing is downloaded from a device.
    """
    return {
        name: np.broadcast_to(_zero(value), tuple(value.shape)) for name, value in state.items()
    }


def _zero(value: Any) -> np.ndarray:
    """A zero of the dtype of an array or a tensor."""
    if isinstance(value, torch.Tensor):
        return torch.zeros((), dtype=value.dtype).numpy()
    return np.zeros((), value.dtype)


def load_state(model: Any, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Load `arrays` into a model of either panel, all of them or, on an error, none.

    One name of a tied parameter suffices. A cast to the model's dtype may round, but a finite value
    may not become infinite, and a small one may not lose its digits or become 0.

    Raises: ValueError that begins with `source` and lists every missing, unexpected and misshapen
    entry; then every tied parameter with two values, or every entry that the dtype cannot hold.
    """
    own = placeholders(model.state_dict())
    groups = [[name for name in group if name in own] for group in tied_names(model)]
    arrays = with_tied_copies(arrays, groups)
    check_state(shapes_of(own), shapes_of(arrays), f"{source}: state_dict")
    problems = [
        problem
        for name, array in arrays.items()
        if (problem := range_problem(name, array, own[name].dtype))
    ]
    if problems:
        raise ValueError(f"{source}: {'; '.join(problems)}")
    state: dict[str, Any] = {name: cast(array, own[name].dtype) for name, array in arrays.items()}
    for group in groups:
        check_tied_values(group, [state[name] for name in group], source)
    if isinstance(model, torch.nn.Module):
        state = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    model.load_state_dict(state)


def tied_names(model: Any) -> list[list[str]]:
    """The names of each parameter or buffer that has several, a list for each."""
    keys: Iterable[tuple[str, Any]]
    if isinstance(model, torch.nn.Module):
        keys = [
            (name, (tensor.data_ptr(), tensor.shape, tensor.stride()))
            for name, tensor in model.state_dict().items()
            if isinstance(tensor, torch.Tensor) and tensor.numel() and tensor.data_ptr()
        ]
    elif isinstance(model, Module):
        keys = [(name, id(parameter)) for name, parameter in model.named_parameters(tied=True)]
    else:
        return []
    groups: dict[Any, list[str]] = {}
    for name, key in keys:
        groups.setdefault(key, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def with_tied_copies(arrays: Mapping[str, T], groups: Iterable[list[str]]) -> dict[str, T]:
    """The arrays, with every name of a tied parameter of which they have at least one name."""
    result = dict(arrays)
    for group in groups:
        names = [name for name in group if name in arrays]
        if names:
            result |= {name: arrays[names[0]] for name in group if name not in arrays}
    return result


def check_tied_values(names: list[str], values: list[np.ndarray], source: str) -> None:
    """Raise ValueError unless all the names of one parameter have one value."""
    for name, value in zip(names[1:], values[1:], strict=True):
        if not np.array_equal(values[0], value, equal_nan=value.dtype.kind == "f"):
            raise ValueError(
                f"{source}: {names[0]} and {name} differ, takes equal values: the model ties them "
                "into one parameter"
            )


def cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in the model's dtype, if both are floating; else the array itself."""
    if array.dtype.kind != "f" or dtype.kind != "f":
        return array
    with np.errstate(over="ignore", under="ignore"):
        return array.astype(dtype, copy=False)


def range_problem(name: str, array: np.ndarray, dtype: np.dtype) -> str | None:
    """Say which value of a floating array overflows or underflows in the model's dtype; or None."""
    value = cast(array, dtype)
    if value.dtype.itemsize >= array.dtype.itemsize:
        return None
    overflow = np.isfinite(array) & ~np.isfinite(value)
    if overflow.any():
        return f"{name} overflows {dtype}: got {array[overflow].flat[0]:g}"
    lossy = (np.abs(value) < np.finfo(dtype).smallest_normal) & (value != array)
    if lossy.any():
        result = "0" if value[lossy].flat[0] == 0 else "a subnormal number with fewer digits"
        return f"{name} underflows {dtype}: got {array[lossy].flat[0]:g}, which becomes {result}"
    return None


def without_wrappers(arrays: Mapping[str, T], own: Iterable[str]) -> dict[str, T]:
    """The arrays under the names that the model has without its wrappers.

    A first part that all names share is dropped if it is a wrapper's ("module.", "_orig_mod.") or
    if the rests are all names of the model ("model."). "_orig_mod." is dropped anywhere: a part of
    the model was compiled.
    """
    result, names = dict(arrays), set(own)
    while result and not names & result.keys():
        firsts = {name.partition(".")[0] for name in result}
        rests = {name.partition(".")[2]: array for name, array in result.items()}
        if len(firsts) > 1 or not all(rests):
            break
        if not firsts <= set(WRAPPERS) and not rests.keys() <= names:
            break
        result = rests
    plain = {_without_compilation(name): array for name, array in result.items()}
    compiled = any(_without_compilation(name) != name for name in names)
    return result if compiled or len(plain) < len(result) else plain


def _without_compilation(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def unwrapped(model: Any) -> Any:
    """The model inside torch.compile, DataParallel and DistributedDataParallel."""
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, wrappers):
            model = model.module
        elif isinstance(model, torch.nn.Module) and "_orig_mod" in dict(model.named_children()):
            model = model._orig_mod
        else:
            return model
