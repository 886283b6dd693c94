"""Functions that make or move tensors below the level at which `device.execute` sees them."""

from __future__ import annotations

from typing import Any

import torch
from helpers.pretended_cuda import rules
from helpers.pretended_cuda.tensor import CudaTensor
from torch import Tensor

_PINNED = "_pinned_for_pretended_cuda"
_tensor, _as_tensor, _asarray = torch.tensor, torch.as_tensor, torch.asarray


def install() -> None:
    """Replace the constructors by those below."""
    torch.tensor, torch.as_tensor, torch.asarray = tensor, as_tensor, asarray
    Tensor.pin_memory, Tensor.is_pinned = pin_memory, is_pinned


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **options: Any
) -> Tensor:
    """torch.tensor"""
    if isinstance(data, CudaTensor):
        result = data.detach().clone().to(device=device, dtype=dtype)
    else:
        result = _tensor(data, dtype=dtype)
        if options.get("pin_memory"):
            result = pin_memory(result)
        result = result.to(device) if device is not None else result
    return result.requires_grad_(requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """torch.as_tensor"""
    if isinstance(data, CudaTensor):
        return data.to(device=device, dtype=dtype)
    result = _as_tensor(data, dtype=dtype)
    return result.to(device) if device is not None else result


def asarray(data: Any, *, device: Any = None, copy: Any = None, **options: Any) -> Tensor:
    """torch.asarray"""
    if isinstance(data, CudaTensor):
        result = data.to(device=device, dtype=options.get("dtype"))
        return result.clone() if copy and result is data else result
    result = _asarray(data, copy=copy, **options)
    return result.to(device) if device is not None else result


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in page-locked memory: only such a one is uploaded while the host goes on."""
    if isinstance(self, CudaTensor):
        rules.refuse("pin_memory", "cannot pin a CUDA tensor: only dense CPU tensors can be pinned")
    result = self if is_pinned(self) else self.clone()
    setattr(result, _PINNED, True)
    return result


def is_pinned(self: Tensor, device: Any = None) -> bool:
    return getattr(self, _PINNED, False)
