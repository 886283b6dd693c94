"""Call methods of a model of either panel with arrays, and receive arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from diptych.arrays import map_arrays, to_numpy


def call(model: Any, method: str, *arguments: Any, **options: Any) -> Any:
    """The values of `model.method(...)`: the left panel's vjp is dropped where there is one."""
    function = getattr(model, method)
    if isinstance(model, nn.Module):
        with torch.no_grad():
            return map_arrays(to_numpy, function(*map_arrays(_tensor, arguments), **options))
    result = function(*arguments, **options)
    if isinstance(result, tuple) and not hasattr(result, "_fields") and callable(result[-1]):
        result = result[0]
    return map_arrays(to_numpy, result)


def _tensor(array: Any) -> torch.Tensor:
    return torch.as_tensor(array.copy())


def as_array(value: Any) -> Any:
    """An array or a tensor of either panel as an array."""
    return to_numpy(value)
