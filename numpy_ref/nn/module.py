"""Parameter, Buffer and Module: the part of torch.nn that the left panel needs.

One convention holds everywhere: a forward returns `(y, vjp)`. `vjp(dy)` adds to the parameters'
`.grad` and returns the gradient of each input, in order. The last inputs may be constants (targets,
noise), which have no gradient.

Shapes: a gradient has the shape of its array; each module names those of its inputs.
Source: the interface of torch.nn.Module, without hooks and devices.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.state import check_state, shapes_of

Array = np.ndarray
Vjp = Callable[..., Any]
DTYPES = (np.dtype("float32"), np.dtype("float64"))


def as_dtype(dtype: DTypeLike) -> np.dtype:
    """float32 or float64, from its name or NumPy dtype. Raises ValueError for any other."""
    for known in DTYPES:
        # `==` alone would accept None, which NumPy reads as float64
        if dtype is known.type or (isinstance(dtype, str | np.dtype) and dtype == known.name):
            return known
    raise ValueError(f"dtype: got {dtype!r}, takes float32 or float64")


class Parameter:
    """A learned array, and the sum of its gradients since the last `zero_grad`."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad = np.zeros_like(data)


class Buffer:
    """An array of the state_dict that is not learned: a running average, a count."""

    def __init__(self, data: Array) -> None:
        self.data = data


class Module:
    """Base class of layers and models; a subclass defines `forward`.

    Parameters, buffers and children are the attributes of those types, in the order in which they
    were set. So `state_dict` has torch's names, layouts and order: the parameters of a module, then
    its buffers, then its children.
    """

    training = True
    """Training mode: dropout is active, and batch normalisation uses the statistics of the batch.
    `train()` and `eval()` set it for the whole tree, as in torch."""

    def train(self, mode: bool = True) -> Self:
        """Set training mode, here and in all children."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode, here and in all children."""
        return self.train(False)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(path, module) of this module, path "", and of all below it."""
        yield prefix, self
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value.named_modules(_join(prefix, name))

    def named_parameters(self, *, tied: bool = False) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), each parameter once; with `tied`, once for every path it has."""
        visited: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and (tied or id(value) not in visited):
                    visited.add(id(value))
                    yield _join(path, name), value

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(path, buffer) of all buffers."""
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Buffer):
                    yield _join(path, name), value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def gradients(self) -> dict[str, Array]:
        """The gradient of each parameter by path: the arrays themselves, not copies."""
        return {name: parameter.grad for name, parameter in self.named_parameters()}

    def zero_grad(self) -> None:
        """Set every gradient to 0."""
        for parameter in self.parameters():
            parameter.grad.fill(0)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, by path."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy a state_dict of either panel into the parameters and buffers.

        Raises: ValueError that lists every missing, unexpected and misshapen entry, and then
        nothing is copied.
        """
        own = self._state()
        # `.cpu()` copies a torch tensor from its device without importing torch here
        arrays = {
            name: np.asarray(value.cpu() if hasattr(value, "cpu") else value)
            for name, value in state.items()
        }
        check_state(shapes_of(own), shapes_of(arrays))
        for name, array in own.items():
            array[...] = arrays[name]

    def _state(self) -> dict[str, Array]:
        """The arrays of all parameters, under every path they have, and of all buffers."""
        return {
            _join(path, name): value.data
            for path, module in self.named_modules()
            for kind in (Parameter, Buffer)
            for name, value in vars(module).items()
            if isinstance(value, kind)
        }

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy in another dtype, with gradients 0; integer buffers stay integers."""
        twin = copy.deepcopy(self)
        for _, buffer in twin.named_buffers():
            if buffer.data.dtype in DTYPES:
                buffer.data = buffer.data.astype(as_dtype(dtype))
        for parameter in twin.parameters():
            parameter.data = parameter.data.astype(as_dtype(dtype))
            parameter.grad = np.zeros_like(parameter.data)
        return twin

    def forward(self, *args: Any, **options: Any) -> tuple[Any, Vjp]:
        """The output and its vjp."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.forward(*args, **options)


class Sequential(Module):
    """y = f_n(... f_1(x)). Children are named "0", "1", ..., as in torch.nn.Sequential."""

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            setattr(self, str(i), module)
        self._length = len(modules)

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, str(i)) for i in range(self._length))

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        vjps = []
        for module in self:
            x, vjp = module(x)
            vjps.append(vjp)

        def backward(dy: Array) -> Array:
            for vjp in reversed(vjps):
                dy = vjp(dy)
            return dy

        return x, backward


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
