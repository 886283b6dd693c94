"""Styles in which functions give their gradients, brought to one form.

Each style turns a user's function into `f(*arguments, **keywords) -> (y, vjp)`, all in NumPy.
`vjp(*dys)` takes one cotangent for each array of y, or one for each floating-point array, and
returns the gradients of the arguments: one, a sequence, or a dict by name. `vjp` is None if the
style has no gradients.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from diptych.arrays import is_array, is_float, leaves

Function = Callable[..., Any]


def vjp_style(function: Function) -> Function:
    """`y, vjp = f(*arguments)`, `gradients = vjp(*dys)`: this project's own style."""

    def run(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
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


def forward_style(function: Function) -> Function:
    """`y = f(*arguments)`: values only."""
    return lambda *arguments, **keywords: (function(*arguments, **keywords), None)


def autograd_style(function: Function) -> Function:
    """A function written with `autograd.numpy`, differentiated by `autograd.make_vjp`."""

    def run(*arguments: Any, **keywords: Any) -> Any:
        autograd = _import("autograd")
        sequence = _import("autograd.builtins").tuple
        inputs, results, other_results = Structure(), Structure(), list[Any]()
        arrays, others = inputs.split(arguments)
        _check_any(function, arrays)

        def of_arrays(*traced: Any) -> Any:
            y = function(*inputs.join(traced, others), **keywords)
            floats, other_results[:] = results.split(y)
            return sequence(floats)

        pullback, outputs = autograd.make_vjp(of_arrays, tuple(range(len(arrays))))(*arrays)

        def vjp(*dys: Any) -> list[Any]:
            return _by_argument(arguments, pullback(tuple(results.cotangents(dys, outputs))))

        return results.join(outputs, other_results), vjp

    return run


def jax_style(function: Function) -> Function:
    """A function written with `jax.numpy`, differentiated by `jax.vjp`, on the CPU.

    64-bit numbers are on while it runs and only then, so that each array keeps its dtype.
    """

    def run(*arguments: Any, **keywords: Any) -> Any:
        jax = _import("jax")
        inputs, results = Structure(), Structure()
        arrays, others = inputs.split(arguments)
        _check_any(function, arrays)

        with _jax_float64(jax):
            arrays, others = ([jax.numpy.array(a) for a in group] for group in (arrays, others))

            def of_arrays(*traced: Any) -> tuple[list[Any], list[Any]]:
                return results.split(function(*inputs.join(traced, others), **keywords))

            outputs, pullback, other_results = jax.vjp(of_arrays, *arrays, has_aux=True)
            y = results.join(list(map(np.array, outputs)), list(map(np.array, other_results)))

        def vjp(*dys: Any) -> list[Any]:
            with _jax_float64(jax):
                cotangents = map(jax.numpy.array, results.cotangents(dys, outputs))
                return _by_argument(arguments, list(map(np.array, pullback(list(cotangents)))))

        return y, vjp

    return run


STYLES: dict[str, Callable[[Any], Function]] = {
    "vjp": vjp_style,
    "cache": cache_style,
    "value_and_grad": value_and_grad_style,
    "autograd": autograd_style,
    "jax": jax_style,
    "forward": forward_style,
}
"""The styles of NumPy functions."""


class Structure:
    """The nesting of the arguments or of the result of a traced function.

    `split` takes its arrays out, in order, and `join` puts arrays in their places.
    """

    def __init__(self) -> None:
        self._skeleton: Any = None
        self._is_float: list[bool] = []

    def split(self, y: Any) -> tuple[list[Any], list[Any]]:
        """The floating-point arrays of a value, and its other arrays."""
        arrays: list[Any] = []
        self._skeleton = _skeleton(y, arrays)
        self._is_float = [np.issubdtype(array.dtype, np.floating) for array in arrays]
        pairs = list(zip(arrays, self._is_float, strict=True))
        return [a for a, floating in pairs if floating], [
            a for a, floating in pairs if not floating
        ]

    def join(self, floats: Sequence[Any], others: Sequence[Any]) -> Any:
        """The value with these arrays."""
        kinds = {True: iter(floats), False: iter(others)}
        return _filled(self._skeleton, [next(kinds[floating]) for floating in self._is_float])

    def cotangents(self, dys: Sequence[Any], outputs: Sequence[Any]) -> list[np.ndarray]:
        """The cotangent of each floating-point array, in its shape and dtype; 0 for None."""
        if len(dys) == len(self._is_float):
            dys = [dy for dy, floating in zip(dys, self._is_float, strict=True) if floating]
        if len(dys) != len(outputs):
            raise ValueError(f"vjp: got {len(dys)} cotangents, takes {len(outputs)}")
        return [
            np.broadcast_to(np.asarray(0 if dy is None else dy, y.dtype), y.shape)
            for dy, y in zip(dys, outputs, strict=True)
        ]


class _Place(NamedTuple):
    """The place of an array in a value."""

    number: int


def _skeleton(value: Any, arrays: list[Any]) -> Any:
    """The value with places instead of its arrays, which are appended to `arrays`."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):  # also those that a framework traces
        arrays.append(value)
        return _Place(len(arrays) - 1)
    if hasattr(value, "_fields"):
        return type(value)(*(_skeleton(item, arrays) for item in value))
    if isinstance(value, dict):
        return {key: _skeleton(item, arrays) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_skeleton(item, arrays) for item in value)
    return value


def _filled(skeleton: Any, arrays: Sequence[Any]) -> Any:
    if isinstance(skeleton, _Place):
        return arrays[skeleton.number]
    if hasattr(skeleton, "_fields"):
        return type(skeleton)(*(_filled(item, arrays) for item in skeleton))
    if isinstance(skeleton, dict):
        return {key: _filled(item, arrays) for key, item in skeleton.items()}
    if isinstance(skeleton, tuple | list):
        return type(skeleton)(_filled(item, arrays) for item in skeleton)
    return skeleton


def has_float(argument: Any) -> bool:
    """True if an argument is, or contains, a floating-point array."""
    return any(is_float(array) for _, array in leaves(argument))


def label(function: Any) -> str:
    """The name of a function, of a pair of functions or of a partial one, for messages."""
    if isinstance(function, tuple):
        return label(function[0])
    name = getattr(function, "__name__", None) or getattr(function, "func", type(function))
    return name if isinstance(name, str) else label(name)


def _check_any(function: Function, arrays: Sequence[Any]) -> None:
    if not arrays:
        raise ValueError(f"{label(function)}: got no floating-point array, takes at least one")


def _by_argument(arguments: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
    """The gradients of each argument's floating-point arrays: one, a list, or None."""
    remaining, result = iter(gradients), list[Any]()
    for argument in arguments:
        own = [next(remaining) for _, array in leaves(argument) if is_float(array)]
        result.append(own[0] if is_array(argument) and own else own or None)
    return result


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


def _kind(result: Any) -> str:
    if isinstance(result, tuple):
        return f"a tuple of {len(result)}"
    return f"{type(result).__name__} alone"


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(f"style: {package!r} needs the package {package} ({error})") from None


@contextlib.contextmanager
def _jax_float64(jax: Any) -> Iterator[None]:
    """64-bit numbers and the CPU, for this block alone."""
    if hasattr(jax, "enable_x64"):
        float64 = jax.enable_x64(True)
    else:  # jax before 0.8
        float64 = importlib.import_module("jax.experimental").enable_x64()
    with float64, jax.default_device(jax.devices("cpu")[0]):
        yield
