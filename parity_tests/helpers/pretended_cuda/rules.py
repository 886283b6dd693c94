"""The rules by which CUDA refuses the tensors of an operation.

A tensor of the CPU may stand beside one of CUDA only where torch says so:

    - in a copy, and as the index of a CUDA tensor (it is copied to the device, and counted)
    - a single number (no axes) as an input of an elementwise operation on two tensors, in
      torch.where, masked_fill and foreach operations, and as a value assigned by index

Further: the only device is number 0; and CUDA multiplies no matrices of integers.

Source: aten/src/ATen/native/TensorIterator.cpp (`allow_cpu_scalars`), TensorAdvancedIndexing.cpp.
"""

from __future__ import annotations

from typing import Any

import torch
from helpers.pretended_cuda.ledger import LEDGER
from helpers.pretended_cuda.tensor import CudaTensor
from torch import Tensor

aten = torch.ops.aten

COPIES = {aten._to_copy.default, aten.copy_.default, aten._foreach_copy_.default}
INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
ANY_SCALARS = {
    aten.where.self,
    aten.masked_fill.Tensor,
    aten.masked_fill_.Tensor,
    aten.fill_.Tensor,
    aten.fill.Tensor,
}
MATRIX_PRODUCTS = {
    *(aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default),
    *(aten.mv.default, aten.addmv.default, aten.dot.default),
}
SAME_DEVICE = "Expected all tensors to be on the same device, but found at least two devices"


def check(func: Any, args: tuple[Any, ...], cuda: list[CudaTensor], cpu: list[Tensor]) -> None:
    """Raise what CUDA raises for an operation on these tensors, and enter it into the ledger."""
    if func in MATRIX_PRODUCTS and not (cuda[0].is_floating_point() or cuda[0].is_complex()):
        kind = str(cuda[0].dtype).removeprefix("torch.")
        refuse(func, f'"{func.overloadpacket.__name__}_cuda" not implemented for {kind}')
    if not cpu or func in COPIES:
        return
    if func in INDEXING:
        _check_index(func, args)
    elif not _takes_cpu_scalars(func, args, cuda, cpu):
        shapes = [tuple(t.shape) for t in cpu]
        refuse(func, f"{SAME_DEVICE}, cuda:0 and cpu! ({func}: shapes on the CPU: {shapes})")


def check_device(func: Any, device: torch.device) -> None:
    """Raise what CUDA raises for the number of a device that this machine lacks."""
    if device.type == "cuda" and (device.index or 0) > 0:
        refuse(func, "CUDA error: invalid device ordinal")


def refuse(operation: Any, message: str) -> None:
    """Enter an error into the ledger and raise it, with the line of the project that caused it."""
    event = LEDGER.record("error", str(operation))
    raise RuntimeError(f"{message} [{event.place}]")


def _takes_cpu_scalars(func: Any, args: Any, cuda: list[CudaTensor], cpu: list[Tensor]) -> bool:
    if any(t.dim() > 0 for t in cpu):
        return False
    written = func._schema.arguments[0].alias_info
    in_place = written is not None and written.is_write and isinstance(args[0], Tensor)
    if in_place and not isinstance(args[0], CudaTensor):  # a result on the CPU
        return False
    if func in ANY_SCALARS or func.overloadpacket.__name__.startswith("_foreach_"):
        return True
    return torch.Tag.pointwise in func.tags and len(cuda) == len(cpu) == 1


def _check_index(func: Any, args: tuple[Any, ...]) -> None:
    indices = [t for t in args[1] if t is not None]
    if not isinstance(args[0], CudaTensor) and any(isinstance(t, CudaTensor) for t in indices):
        places = "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
        refuse(func, places)
    if len(args) > 2 and isinstance(args[2], Tensor):
        value = args[2]
        if isinstance(args[0], CudaTensor) and not isinstance(value, CudaTensor) and value.dim():
            refuse(func, f"{SAME_DEVICE}, cuda:0 and cpu! ({func})")
