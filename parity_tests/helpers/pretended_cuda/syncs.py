"""The operations for which the host waits, and the copies between host and device.

A value is read where a number is needed in Python (item, float, bool, tolist) and where the shape
of a result depends on values (nonzero, masks as indices, unique).
Source: torch.cuda.set_sync_debug_mode, which warns of the same operations.
"""

from __future__ import annotations

from typing import Any

import torch
from helpers.pretended_cuda.ledger import LEDGER
from helpers.pretended_cuda.rules import INDEXING
from helpers.pretended_cuda.tensor import CudaTensor
from torch import Tensor

aten = torch.ops.aten

READS = {
    *(aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default),
    *(aten.allclose.default, aten._linalg_check_errors.default),
    *(aten.nonzero.default, aten.masked_select.default, aten.argwhere.default),
    *(aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default),
    *(aten.bincount.default, aten.multinomial.default),
}
"""The operations that read a value of a tensor on the device."""


def record(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    cuda: list[CudaTensor],
    device: torch.device | None,
) -> None:
    """Enter the synchronisations and copies of one operation into the ledger."""
    if func in READS:
        if cuda:
            LEDGER.record("synchronisation", str(func))
    elif func is aten._to_copy.default:
        source = isinstance(args[0], CudaTensor)
        target = source if device is None else device.type == "cuda"
        _record_copy(func, args[0], source, target, kwargs.get("non_blocking", False))
    elif func is aten.copy_.default:
        waits = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        on_device = (isinstance(args[i], CudaTensor) for i in (1, 0))
        _record_copy(func, args[1], *on_device, not waits)
    elif func is aten._foreach_copy_.default:
        for target, source in zip(args[0], args[1], strict=True):
            on_device = (isinstance(t, CudaTensor) for t in (source, target))
            _record_copy(func, source, *on_device, len(args) > 2 and args[2])
    elif func in INDEXING and cuda:
        if not _fills(args):
            _record_indices(func, args[0], args[1])
    elif func is aten.repeat_interleave.Tensor and cuda and kwargs.get("output_size") is None:
        LEDGER.record("synchronisation", str(func))


def _record_copy(func: Any, source: Tensor, before: bool, after: bool, free: bool) -> None:
    """Record a copy between host and device; `free`: the host does not wait, if it can be so."""
    if before and not after:
        LEDGER.record("download" if free else "synchronisation", str(func))
    elif after and not before:
        LEDGER.record("upload" if free or not source.numel() else "blocking upload", str(func))


def _fills(args: tuple[Any, ...]) -> bool:
    """True for x[mask] = number: torch fills where the mask is true, and reads nothing."""
    indices = [t for t in args[1] if t is not None]
    masks = len(indices) == 1 and isinstance(indices[0], CudaTensor)
    value = args[2] if len(args) > 2 else None
    number = isinstance(value, Tensor) and not isinstance(value, CudaTensor) and value.numel() == 1
    return masks and indices[0].dtype == torch.bool and number and not any(args[3:4])


def _record_indices(func: Any, target: Tensor, indices: Any) -> None:
    for index in indices:
        if index is None:
            continue
        if not isinstance(index, CudaTensor):
            if isinstance(target, CudaTensor):
                LEDGER.record("blocking upload", f"{func} by an index on the CPU")
        elif index.dtype in (torch.bool, torch.uint8):
            LEDGER.record("synchronisation", f"{func} by a mask")
