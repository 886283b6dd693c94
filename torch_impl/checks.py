"""Checks of what goes into a loss: each error names the argument, what it got and what it takes.

Under torch.compile only shapes and dtypes are checked: values would break the graph.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor


class Model(Protocol):
    """What the arguments must match."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...


def check_noise(name: str, value: Tensor, shape: tuple[int | None, ...], model: Model) -> None:
    """Raise ValueError unless `value` is finite, of `shape` (None: any size), and the model's."""
    _check_tensor(name, value, shape, model)
    if not torch.compiler.is_compiling() and not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name}: got NaN or inf, takes finite values")


def check_batch(
    name: str, value: Tensor, features: int, model: Model, support: tuple[float, float]
) -> None:
    """Raise ValueError unless `value` is (N >= 1, features), the model's, finite, in `support`."""
    _check_tensor(name, value, (None, features), model)
    if torch.compiler.is_compiling():
        return
    low, high = support
    smallest, largest = torch.stack(torch.aminmax(value.detach())).tolist()  # NaN where any is
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        raise ValueError(f"{name}: got NaN or inf, takes finite values")
    if smallest < low or largest > high:
        raise ValueError(
            f"{name}: got values from {smallest:g} to {largest:g}, takes [{low:g}, {high:g}]"
        )


def _check_tensor(name: str, value: Tensor, shape: tuple[int | None, ...], model: Model) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{name}: got {type(value).__name__}, takes torch.Tensor")
    sizes_fit = len(value.shape) == len(shape) and all(
        want is None or got == want for got, want in zip(value.shape, shape, strict=True)
    )
    if not sizes_fit or 0 in value.shape:
        takes = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: got shape {tuple(value.shape)}, takes ({takes}), none of them 0")
    if value.dtype != model.dtype:
        raise ValueError(f"{name}: got dtype {value.dtype}, takes {model.dtype}")
    if value.device != model.device:
        raise ValueError(f"{name}: got a tensor on {value.device}, takes one on {model.device}")
