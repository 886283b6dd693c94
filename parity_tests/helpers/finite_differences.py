"""Finite differences: the witness against which every hand-written gradient is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diptych.arrays import is_float, leaves


def derivative(function: Callable[[float], float], step: float = 3e-5) -> float:
    """f'(0) by the central difference over four points.

        f'(0) = (8 (f(h) - f(-h)) - (f(2 h) - f(-2 h))) / 12 h + O(h^4)

    Rounding adds an error of eps / h.
    """
    inner = function(step) - function(-step)
    outer = function(2 * step) - function(-2 * step)
    return (8 * inner - outer) / (12 * step)


def derivative_errors(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    parameters: Any,
    rng: np.random.Generator,
    step: float = 3e-5,
) -> dict[str, float]:
    """Relative error of each gradient that a vjp returns or accumulates, by name.

    `function(*arguments)` returns `(y, vjp)`. With a random cotangent dy, each gradient g is
    compared with the derivative of <dy, y> along one random direction d: g is right if that
    derivative is <g, d>. The arguments are named by position, "[0]", "[1].mu", and so on;
    `parameters` are pairs (name, Parameter), or {} for a pure function.
    """
    parameters = dict(parameters)

    def outputs() -> list[np.ndarray]:
        return [np.asarray(array) for _, array in leaves(function(*arguments)[0])]

    cotangents = [rng.normal(size=output.shape) for output in outputs()]
    for parameter in parameters.values():
        parameter.grad.fill(0)
    returned = [gradient for _, gradient in leaves(function(*arguments)[1](*cotangents))]
    inputs = [(name, array) for name, array in leaves(arguments) if is_float(array)]
    gradients = dict(zip((name for name, _ in inputs), returned, strict=False))
    arrays = dict(inputs) | {name: p.data for name, p in parameters.items()}
    gradients |= {name: parameter.grad.copy() for name, parameter in parameters.items()}

    errors = {}
    for name, gradient in gradients.items():
        array, start = arrays[name], arrays[name].copy()
        assert gradient.shape == array.shape, name
        direction = rng.normal(size=array.shape)

        def product(s: float, array=array, start=start, direction=direction) -> float:
            array[...] = start + s * direction
            return sum((c * y).sum() for c, y in zip(cotangents, outputs(), strict=True))

        measured = derivative(product, step)
        array[...] = start
        errors[name] = abs(measured - (gradient * direction).sum()) / max(1, abs(measured))
    return errors


def total_loss(model: Any) -> Callable[..., Any]:
    """`model.loss` as a function `(total, vjp)` of batch and noise, for `derivative_errors`."""

    def function(batch: Any, noise: Any) -> tuple[Any, Any]:
        loss, backward = model.loss(batch, noise)

        def vjp(dtotal: np.ndarray) -> None:
            backward()
            for parameter in model.parameters():
                parameter.grad *= dtotal

        return loss.total, vjp

    return function
