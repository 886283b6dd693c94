"""Run the operations of the device: check their tensors, count their events, compute on the CPU.

Autograd, autocast and the operations that torch composes from others stand above this level. They
run as for CUDA.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from helpers.pretended_cuda import kernels, rules, syncs
from helpers.pretended_cuda.tensor import CPU, CudaTensor
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class Mode(TorchDispatchMode):
    """Send operations without a tensor of the device, such as torch.zeros, to `execute` too."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch.compile, which takes seconds to import, is not used

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return execute(func, args, kwargs or {})


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """A context in which tensors can be made on the device "cuda".

    Backward passes run in the calling thread, so that their events have a line of the project.
    """
    with Mode(), torch.autograd.set_multithreading_enabled(False):
        yield


def execute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operation as the device would."""
    cuda: list[CudaTensor] = []
    cpu: list[Tensor] = []
    _sort(args, cuda, cpu)
    _sort(kwargs.values(), cuda, cpu)
    device = kwargs.get("device")
    if not cuda and (device is None or device.type != "cuda"):
        return func(*args, **kwargs)
    if device is not None:
        rules.check_device(func, device)
        if device.type == "cuda":
            kwargs = kwargs | {"device": CPU}
    if cuda:
        rules.check(func, args, cuda, cpu)
    syncs.record(
        func, args, kwargs if device is None else kwargs | {"device": device}, cuda, device
    )
    if torch.Tag.inplace_view in func.tags:
        return _change_view(func, args, kwargs)
    run = kernels.REPLACED.get(func, func)
    result = run(*_numbers(args), **{name: _numbers(value) for name, value in kwargs.items()})
    if device is not None and device.type == "cpu":
        return result
    known: dict[int, Tensor] = {id(t.numbers): t for t in cuda} | {id(t): t for t in cpu}
    return _wrapped(result, known)


def _change_view(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Change the sizes of a tensor in place (unsqueeze_, t_): of its numbers and of itself."""
    target = args[0]
    func(*_numbers(args), **kwargs)
    with torch.utils._mode_utils.no_dispatch():
        inner = target.numbers
        Tensor.as_strided_(target, inner.size(), inner.stride(), inner.storage_offset())
    return target


def _sort(values: Any, cuda: list[CudaTensor], cpu: list[Tensor]) -> None:
    """Append the tensors among the arguments of an operation to the list of their device."""
    for value in values:
        if isinstance(value, CudaTensor):
            cuda.append(value)
        elif isinstance(value, Tensor):
            cpu.append(value)
        elif isinstance(value, list | tuple):
            _sort(value, cuda, cpu)


def _numbers(value: Any) -> Any:
    """The arguments with the tensors of the CPU that hold their numbers."""
    if isinstance(value, CudaTensor):
        return value.numbers
    if isinstance(value, list | tuple):
        return type(value)(map(_numbers, value)) if type(value) in (list, tuple) else value
    return value


def _wrapped(result: Any, known: dict[int, Tensor]) -> Any:
    """The result with tensors of the device; an operation in place returns its argument."""
    if isinstance(result, Tensor):
        argument = known.get(id(result))
        return CudaTensor(result) if argument is None else argument
    if isinstance(result, list | tuple):
        return type(result)(_wrapped(item, known) for item in result)
    return result
