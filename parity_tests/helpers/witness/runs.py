"""A function of both panels at one point, and its outputs and gradients there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from diptych.arrays import to_tensors


@dataclass(frozen=True)
class Case:
    """A function of the left panel with a vjp, its counterpart on the right, and a point."""

    left: Callable[..., Any]
    right: Callable[..., Any]
    arguments: tuple[Any, ...]
    """The vjp returns the gradients of the first float arrays among them; a float is a constant."""
    modules: tuple[Any, Any] | None = None
    """Modules of both panels with the same weights: the first argument of `left` and `right`."""
    together: bool = False
    """One direction for all arrays, which saves time: for whole models."""

    @property
    def left_module(self) -> Any:
        return self.modules[0] if self.modules else None


class Run(NamedTuple):
    """The outputs, in order, and the gradients by name of an input ("[0]") or a parameter."""

    outputs: list[np.ndarray]
    gradients: dict[str, np.ndarray]


def run_left(
    function: Callable[..., Any],
    module: Any,
    arguments: tuple[Any, ...],
    cotangents: list[np.ndarray] | None = None,
) -> Run:
    """One call of the left function, with its vjp if there are cotangents.

    Buffers of the module keep their values, which a call in training mode would change.
    """
    buffers = [(b, b.data.copy()) for _, b in module.named_buffers()] if module else []
    y, vjp = function(*([module] if module else []), *arguments)
    for buffer, value in buffers:
        buffer.data = value
    outputs = leaves(y)
    if cotangents is None:
        return Run(outputs, {})
    if module:
        module.zero_grad()
    returned = vjp(*cotangents)
    returned = returned if isinstance(returned, tuple) else (returned,)
    gradients = {
        name: np.zeros_like(array) + gradient
        for (name, array), gradient in zip(inputs(arguments), returned, strict=False)
        if gradient is not None
    }
    if module:
        gradients |= {name: p.grad.copy() for name, p in module.named_parameters()}
    return Run(outputs, gradients)


def run_right(case: Case, cotangents: list[np.ndarray], names: list[str]) -> Run:
    """The right panel's outputs, and its gradients of the arrays that `names` lists."""
    tensors = to_tensors(case.arguments, torch.device("cpu"))
    tracked, first = dict(inputs(tensors)), []
    if case.modules:
        module = copy.deepcopy(case.modules[1])
        tracked |= dict(module.named_parameters())
        first = [module]
    outputs = leaves(case.right(*first, *tensors))
    pairs = [(y, torch.from_numpy(c)) for y, c in zip(outputs, cotangents, strict=True)]
    pairs = [(y, c) for y, c in pairs if y.requires_grad]  # not the constant log-determinant 0
    gradients = torch.autograd.grad(
        [y for y, _ in pairs],
        [tracked[name] for name in names],
        [c for _, c in pairs],
        allow_unused=True,
        materialize_grads=True,
    )
    arrays = [y.detach().numpy() for y in outputs]
    return Run(arrays, {n: g.numpy() for n, g in zip(names, gradients, strict=True)})


def leaves(value: Any) -> list[Any]:
    """The arrays, tensors and numbers in nested tuples, in order."""
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value if isinstance(value, torch.Tensor) else np.asarray(value)]


def inputs(arguments: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """(name, array) of each float or object array among the arguments, tuples included."""
    result = []
    for i, value in enumerate(arguments):
        if isinstance(value, tuple):
            result += [(f"[{i}]{name}", array) for name, array in inputs(value)]
        elif isinstance(value, torch.Tensor):
            result += [(f"[{i}]", value)] if value.is_floating_point() else []
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fO":
            result.append((f"[{i}]", value))
    return result


def nonzero(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of either sign whose sizes are in [1/2, 3/2]."""
    return np.asarray((0.5 + rng.random(shape)) * rng.choice([-1.0, 1.0], shape))
