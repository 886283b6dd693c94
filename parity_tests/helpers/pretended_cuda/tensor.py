"""A tensor whose device is cuda:0 and whose numbers lie in a tensor of the CPU."""

from __future__ import annotations

from typing import Any

import torch
from helpers.pretended_cuda.ledger import LEDGER
from torch import Tensor

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
_NO_NUMPY = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first"


class CudaTensor(Tensor):
    """A tensor on cuda:0. `numbers` holds its numbers; a view of it shares them."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> CudaTensor:
        result = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=CUDA,
        )
        result.numbers = inner
        return result

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        from helpers.pretended_cuda.device import execute  # noqa: PLC0415  (a circle)

        return execute(func, args, kwargs or {})

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["numbers"], None  # torch.nn.Module swaps tensors of such a class

    @staticmethod
    def __tensor_unflatten__(parts: Any, meta: Any, size: Any, stride: Any) -> CudaTensor:
        return CudaTensor(parts["numbers"])

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.numbers = value.numbers  # type: ignore[attr-defined]

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def numpy(self, **options: Any) -> Any:
        LEDGER.record("error", "numpy")
        raise TypeError(_NO_NUMPY)

    def __array__(self, *args: Any, **options: Any) -> Any:
        LEDGER.record("error", "numpy")
        raise TypeError(_NO_NUMPY)

    def tolist(self) -> Any:
        LEDGER.record("synchronisation", "tolist")
        return self.numbers.tolist()

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]
        LEDGER.record("synchronisation", "repr")
        return f"{self.numbers!r} on cuda:0"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copy = CudaTensor(self.numbers.detach().clone()).requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, requires_grad=self.requires_grad)
            memo[id(self)] = copy
        return memo[id(self)]

    def __getitem__(self, index: Any) -> Tensor:
        return Tensor.__getitem__(self, _with_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        Tensor.__setitem__(self, _with_tensors(index), value)

    def new_tensor(
        self, data: Any, *, dtype: Any = None, device: Any = None, **options: Any
    ) -> Any:
        return torch.tensor(data, dtype=dtype or self.dtype, device=device or CUDA, **options)


def _with_tensors(index: Any) -> Any:
    """The index with tensors on the CPU in place of lists: torch makes them from the numbers."""
    if isinstance(index, tuple):
        return tuple(torch.tensor(i) if isinstance(i, list) else i for i in index)
    return torch.tensor(index) if isinstance(index, list) else index
