"""What the tests of gradients share: random weights, and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diptych.arrays import is_float, leaves


def filled(layer: Any, rng: np.random.Generator) -> Any:
    """The layer, with random parameters."""
    for parameter in layer.parameters():
        parameter.data[...] = rng.normal(size=parameter.data.shape)
    return layer


def derivative_errors(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    parameters: Any,
    rng: np.random.Generator,
    step: float = 3e-5,
) -> dict[str, float]:
    """How far each gradient that a vjp claims is from a finite difference, by name.

    For every parameter, and every argument to which the vjp returns a gradient, the difference is
    taken along one random direction, at four points: it errs by step^4 in truth and by eps / step
    in rounding.
    """
    parameters = dict(parameters)

    def run() -> tuple[list[np.ndarray], Any]:
        y, vjp = function(*arguments)
        return [np.asarray(array) for _, array in leaves(y)], vjp

    outputs, vjp = run()
    cotangents = [rng.normal(size=output.shape) for output in outputs]
    for parameter in parameters.values():
        parameter.grad.fill(0)
    returned = [gradient for _, gradient in leaves(vjp(*cotangents))]
    inputs = [(name, array) for name, array in leaves(arguments) if is_float(array)]
    claims = dict(zip((name for name, _ in inputs), returned, strict=False))
    arrays = dict(inputs) | {name: p.data for name, p in parameters.items()}
    claims |= {name: parameter.grad.copy() for name, parameter in parameters.items()}

    errors = {}
    for name, claim in claims.items():
        array, kept, sums = arrays[name], arrays[name].copy(), []
        direction = rng.normal(size=array.shape)
        for points in (1, -1, 2, -2):
            array[...] = kept + points * step * direction
            moved, _ = run()
            sums.append(sum((c * m).sum() for c, m in zip(cotangents, moved, strict=True)))
        array[...] = kept
        measured = (8 * (sums[0] - sums[1]) - (sums[2] - sums[3])) / (12 * step)
        assert claim.shape == array.shape, name
        errors[name] = abs(measured - (claim * direction).sum()) / max(1, abs(measured))
    return errors


def total_of(model: Any) -> Callable[..., Any]:
    """The model's loss as a function with a vjp, of its total alone."""

    def function(batch: Any, noise: Any) -> tuple[Any, Any]:
        loss, backward = model.loss(batch, noise)

        def vjp(dtotal: np.ndarray) -> None:
            backward()
            for parameter in model.parameters():
                parameter.grad *= dtotal

        return loss.total, vjp

    return function
