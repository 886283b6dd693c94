"""Styles in which functions give their gradients, brought to one form.

Each style turns a user's function into `f(*arguments, **keywords) -> (y, vjp)`, all in NumPy.
`vjp(*dys)` takes one cotangent for each array of y, or one for each floating-point array, and
returns the gradients of the arguments: one, a sequence, or a dict by name. `vjp` is None if the
style has no gradients.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from diptych.arrays import is_array
from diptych.parity.functions.arguments import has_float, label
from diptych.parity.functions.traced_styles import autograd_style, jax_style

Function = Callable[..., Any]


def vjp_style(function: Function) -> Function:
    """`y, vjp = f(*arguments)`, `gradients = vjp(*dys)`: this project's own style.

    A function that returns an array alone has no gradients.
    """

    def run(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        if is_array(result):
            return result, None
        if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
            raise ValueError(
                f"{label(function)}: style 'vjp' takes a function that returns (y, vjp), "
                f"got {_kind(result)}"
            )
        return result

    return run


def cache_style(functions: tuple[Function, Function]) -> Function:
    """`*outputs, cache = forward(*arguments)`, `gradients = backward(*dys, cache)`: CS231n's."""
    forward, backward = functions

    def run(*arguments: Any, **keywords: Any) -> Any:
        result = forward(*arguments, **keywords)
        if not (isinstance(result, tuple) and len(result) >= 2):
            raise ValueError(
                f"{label(forward)}: style 'cache' takes a function that returns (y, cache), "
                f"got {_kind(result)}"
            )
        *outputs, cache = result
        y = outputs[0] if len(outputs) == 1 else tuple(outputs)

        def vjp(*dys: Any) -> Any:
            return backward(*dys, cache)

        with contextlib.suppress(TypeError, ValueError):  # builtins have none
            vjp.__signature__ = _without_last(inspect.signature(backward))  # type: ignore[attr-defined]
        return y, vjp

    return run


def value_and_grad_style(function: Function) -> Function:
    """`loss, gradients = f(*arguments)`, where the loss is one number."""

    def run(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        if not (isinstance(result, tuple) and len(result) == 2 and np.ndim(result[0]) == 0):
            raise ValueError(
                f"{label(function)}: style 'value_and_grad' takes a function that returns "
                f"(number, gradients), got {_kind(result)}"
            )
        loss, gradients = result
        return loss, lambda dloss: _scaled(gradients, dloss)

    return run


def scalars_style(functions: tuple[Function, type]) -> Function:
    """`(function, Value)`: a function of arrays of scalars that know their gradients: micrograd's.

    `Value(x)` has `.data`, `.grad` and `.backward()`. The function returns one array, or nested
    lists, of such values.
    """
    function, scalar = functions
    to_scalars = np.vectorize(scalar, otypes=[object])

    def run(*arguments: Any, **keywords: Any) -> Any:
        values = [to_scalars(a) if has_float(a) else a for a in arguments]
        y = np.asarray(function(*values, **keywords), dtype=object)
        dtype = np.result_type(*filter(has_float, arguments))

        def vjp(dy: Any) -> list[Any]:
            (np.ravel(y) * np.ravel(dy)).sum().backward()
            pairs = zip(values, arguments, strict=True)
            return [None if v is a else _attributes(v, "grad", dtype) for v, a in pairs]

        return _attributes(y, "data", dtype), vjp

    return run


def forward_style(function: Function) -> Function:
    """`y = f(*arguments)`: values only."""
    return lambda *arguments, **keywords: (function(*arguments, **keywords), None)


STYLES: dict[str, Callable[[Any], Function]] = {
    "vjp": vjp_style,
    "cache": cache_style,
    "value_and_grad": value_and_grad_style,
    "scalars": scalars_style,
    "autograd": autograd_style,
    "jax": jax_style,
    "forward": forward_style,
}
"""The styles of NumPy functions."""
PAIRS = ("cache", "scalars")
"""The styles that take a pair."""


def _without_last(signature: inspect.Signature) -> inspect.Signature:
    """The signature without the last argument that must be passed: the cache."""
    arguments = list(signature.parameters.values())
    required = [a for a in arguments if a.default is a.empty and a.kind is a.POSITIONAL_OR_KEYWORD]
    return signature.replace(parameters=[a for a in arguments if a not in required[-1:]])


def _scaled(gradients: Any, factor: Any) -> Any:
    """The factor times each gradient."""
    if isinstance(gradients, dict):
        return {name: _scaled(gradient, factor) for name, gradient in gradients.items()}
    if isinstance(gradients, tuple | list):
        return [_scaled(gradient, factor) for gradient in gradients]
    return None if gradients is None else factor * np.asarray(gradients)


def _attributes(objects: np.ndarray, name: str, dtype: np.dtype) -> np.ndarray:
    """An attribute of each object of an array, as an array of numbers."""
    return np.vectorize(lambda value: getattr(value, name), otypes=[dtype])(objects)


def _kind(result: Any) -> str:
    if isinstance(result, tuple):
        return f"a tuple of {len(result)}"
    return f"{type(result).__name__} alone"
