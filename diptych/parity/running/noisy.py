"""Monte Carlo arithmetic: run a model with a random relative error in every operation.

    result of an operation  ->  result * (1 + size * n),    n standard normal

A rounding error is such an error, of size u instead of `size`. So the change of a tensor in such a
run, times u / size, is a sample of its rounding error; it knows of cancellations inside a layer, of
saturated functions, and of sums that are exactly 0.

Source: Parker 1997, "Monte Carlo arithmetic"; Stott Parker, Pierce & Eggert 2000. They round the
operands too; here the parameters, the inputs and the cotangents are perturbed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch._decomp import get_decompositions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from diptych.arrays import base_arrays, is_float

FUSED = (
    "_softmax",
    "_softmax_backward_data",
    "_log_softmax",
    "_log_softmax_backward_data",
    "logsumexp",
    "gelu",
    "gelu_backward",
    "silu_backward",
    "tanh_backward",
    "sigmoid_backward",
    "elu_backward",
    "softplus_backward",
    "native_layer_norm",
    "native_layer_norm_backward",
    "native_group_norm",
    "native_group_norm_backward",
    "native_batch_norm_backward",
    "var",
    "var_mean",
    "binary_cross_entropy_with_logits",
)
"""Operations of torch that cancel inside; a noisy run computes them by their definitions."""


class Noise:
    """Makes NumPy arrays noisy: each operation on them has a relative error in its result.

    Arrays of integers and booleans are kept, and so are views. An array that is created empty and
    filled is not noisy, until it meets one that is.
    """

    def __init__(self, seed: int, size: float) -> None:
        self.size = size
        self.generator = np.random.Generator(np.random.Philox(seed))

    def wrap(self, array: Any) -> Any:
        """A noisy view of an array of floats; anything else is kept."""
        if not isinstance(array, np.ndarray) or not is_float(array):
            return array
        view = array.view(NoisyArray)
        view.noise = self
        return view

    def perturbed(self, result: Any) -> Any:
        """The result of an operation with its error; tuples item by item."""
        if isinstance(result, tuple | list):
            return type(result)(map(self.perturbed, result))
        if not isinstance(result, np.ndarray | np.generic) or not is_float(result):
            return result
        error = self.size * self.generator.standard_normal(result.shape)
        return self.wrap(np.asarray(result) * (1 + error))


class NoisyArray(np.ndarray):
    """An array with a relative error in the result of each operation."""

    noise: Noise | None = None

    def __array_finalize__(self, source: Any) -> None:
        self.noise = getattr(source, "noise", None)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        noise = next(a.noise for a in (*inputs, *(out or ())) if isinstance(a, NoisyArray))
        if out is not None:
            options["out"] = base_arrays(tuple(out), NoisyArray)
        result = getattr(ufunc, method)(*base_arrays(inputs, NoisyArray), **options)
        if noise is None or method == "at":
            return result
        if out is None:
            return noise.perturbed(result)
        for array in options["out"]:
            if array is not None and is_float(array):
                array[...] = noise.perturbed(array)
        return out[0] if len(out) == 1 else out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        noise = self.noise
        arguments, options = base_arrays(args, NoisyArray), base_arrays(kwargs, NoisyArray)
        result = function(*arguments, **options)
        if noise is None:
            return result
        arrays = [a for a in _items((arguments, options)) if isinstance(a, np.ndarray)]
        is_view = isinstance(result, np.ndarray) and any(
            np.may_share_memory(result, a) for a in arrays
        )
        return noise.wrap(result) if is_view else noise.perturbed(result)


class NoisyTorch(TorchDispatchMode):
    """A context in which every floating-point operation of torch has a relative error."""

    def __init__(self, seed: int, size: float) -> None:
        super().__init__()
        self.size = size
        self.generators: dict[torch.device, torch.Generator] = {}
        self.seed = seed
        # a fused operation cancels inside, where it would have no error
        self.decompositions = get_decompositions([getattr(torch.ops.aten, op) for op in FUSED])

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function in self.decompositions:
            with self:
                return self.decompositions[function](*args, **(kwargs or {}))
        result = function(*args, **(kwargs or {}))
        aliases = [r.alias_info for r in function._schema.returns]
        if any(alias is not None and not alias.is_write for alias in aliases):
            return result  # a view
        in_place = any(alias is not None for alias in aliases)
        return tree_map(lambda value: self._perturbed(value, in_place), result)

    def _perturbed(self, value: Any, in_place: bool) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        if value.device not in self.generators:
            self.generators[value.device] = torch.Generator(value.device).manual_seed(self.seed)
        generator = self.generators[value.device]
        noise = torch.randn(
            value.shape, generator=generator, dtype=value.dtype, device=value.device
        )
        factor = 1 + self.size * noise
        return value.mul_(factor) if in_place else value * factor


def _items(value: Any) -> Iterator[Any]:
    """Every item of tuples, lists and dicts within each other."""
    contents = value.values() if isinstance(value, dict) else value
    for item in contents if isinstance(value, tuple | list | dict) else ():
        yield from _items(item) if isinstance(item, tuple | list | dict) else (item,)
