"""Parameter, Buffer and Module: the little that torch.nn gives for free.

One convention everywhere: a forward returns `(y, vjp)`. `vjp(dy)` adds to the parameters' `.grad`
and returns the gradient of each input, in order; inputs left out at the end (targets, noise) are
constants.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.state import check_state

Array = np.ndarray
Vjp = Callable[..., Any]
DTYPES = (np.dtype("float32"), np.dtype("float64"))


def as_dtype(dtype: DTypeLike) -> np.dtype:
    """float32 or float64, by name or as NumPy's own. Raises ValueError for any other."""
    for known in DTYPES:
        # not `==` alone: to NumPy, None equals float64
        if dtype is known.type or (isinstance(dtype, str | np.dtype) and dtype == known.name):
            return known
    raise ValueError(f"dtype: got {dtype!r}, takes float32 or float64")


class Parameter:
    """An array that is learned, and the gradient that vjps have added up for it."""

    __slots__ = ("_grad", "_is_zero", "data")

    def __init__(self, data: Array) -> None:
        self.data = data
        self._grad, self._is_zero = np.zeros_like(data), False

    @property
    def grad(self) -> Array:
        if self._is_zero:
            self._grad.fill(0)
            self._is_zero = False  # the reader may write into it
        return self._grad

    @grad.setter
    def grad(self, grad: Array) -> None:
        self._grad, self._is_zero = grad, False

    def zero_grad(self) -> None:
        """grad = 0; written only once somebody asks for it."""
        self._is_zero = True

    def add_product(self, a: Array, b: Array) -> None:
        """grad += a @ b.   The first product after zero_grad is written straight into place: for a
        vocabulary's weight, three passes over memory less."""
        if self._is_zero:
            np.matmul(a, b, out=self._grad)
            self._is_zero = False
        else:
            self.grad += a @ b


class Buffer:
    """An array that is kept with the parameters but not learned: a running average, a count."""

    __slots__ = ("data",)

    def __init__(self, data: Array) -> None:
        self.data = data


class Module:
    """Names its parameters and buffers as torch.nn.Module does. Subclasses write `forward`.

    Attributes that are Parameters, Buffers or Modules are found by name, in the order they were
    set, so `state_dict` has torch's names, layouts and order: of each module its parameters, then
    its buffers, then its children.
    """

    training = True
    """Whether dropout drops, and whether batches are normalised by their own statistics; `train()`
    and `eval()` set it for the whole tree, as in torch."""

    def train(self, mode: bool = True) -> Self:
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        return self.train(False)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value.named_modules(_join(prefix, name))

    def named_parameters(self, *, tied: bool = False) -> Iterator[tuple[str, Parameter]]:
        """Each parameter once, under its first name; with `tied`, under every name it has."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and (tied or id(value) not in seen):
                    seen.add(id(value))
                    yield _join(path, name), value

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Buffer):
                    yield _join(path, name), value

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def gradients(self) -> dict[str, Array]:
        """The gradients added up since the last `zero_grad`, by parameter name."""
        return {name: parameter.grad for name, parameter in self.named_parameters()}

    def zero_grad(self) -> None:
        for parameter in self.parameters():
            parameter.zero_grad()

    def state_dict(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy `state`, of either panel, into parameters and buffers; all of it or nothing.

        Raises: ValueError that lists every missing, unexpected and misshapen entry.
        """
        own = self._state()
        # a tensor on a GPU is fetched by its own method: this panel does not know torch
        arrays = {n: np.asarray(v.cpu() if hasattr(v, "cpu") else v) for n, v in state.items()}
        check_state(
            {name: array.shape for name, array in own.items()},
            {name: array.shape for name, array in arrays.items()},
        )
        for name, array in own.items():
            array[...] = arrays[name]

    def _state(self) -> dict[str, Array]:
        """The arrays of all parameters, under every name they have, and of all buffers."""
        return {
            _join(path, name): value.data
            for path, module in self.named_modules()
            for kind in (Parameter, Buffer)
            for name, value in vars(module).items()
            if isinstance(value, kind)
        }

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy of this tree in another dtype; gradients are zero, and counts stay integers."""
        twin = copy.deepcopy(self)
        for _, buffer in twin.named_buffers():
            if buffer.data.dtype in DTYPES:
                buffer.data = buffer.data.astype(as_dtype(dtype))
        for parameter in twin.parameters():
            parameter.data = parameter.data.astype(as_dtype(dtype))
            parameter.grad = np.zeros_like(parameter.data)
        return twin

    def forward(self, *args: Any, **options: Any) -> tuple[Any, Vjp]:
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
