"""Styles in which functions give their gradients, brought to one form.

Each style turns a user's function into `f(*arguments, **keywords) -> (y, vjp)`, all in NumPy.
`vjp(*dys)` takes one cotangent for each array of y, or one for each floating-point array, and
returns the gradients of the arguments: one, a sequence, or a dict by name. `vjp` is None if the
style has no gradients.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from diptych.arrays import is_float, leaves, map_arrays

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
        return y, lambda *dys: backward(*dys, cache)

    return run


def forward_style(function: Function) -> Function:
    """`y = f(*arguments)`: values only."""
    return lambda *arguments, **keywords: (function(*arguments, **keywords), None)


def autograd_style(function: Function) -> Function:
    """A function written with `autograd.numpy`, differentiated by `autograd.make_vjp`."""

    def run(*arguments: Any, **keywords: Any) -> Any:
        autograd = _import("autograd")
        sequence = _import("autograd.builtins").tuple
        places, arrays = _differentiable(function, arguments)
        structure, others = Structure(), list[Any]()

        def of_arrays(*traced: Any) -> Any:
            floats, others[:] = structure.split(
                function(*_replaced(arguments, places, traced), **keywords)
            )
            return sequence(floats)

        pullback, outputs = autograd.make_vjp(of_arrays, tuple(range(len(places))))(*arrays)

        def vjp(*dys: Any) -> tuple[Any, ...]:
            gradients = pullback(tuple(structure.cotangents(dys, outputs)))
            return _by_argument(len(arguments), places, gradients)

        return structure.join(outputs, others), vjp

    return run


def jax_style(function: Function) -> Function:
    """A function written with `jax.numpy`, differentiated by `jax.vjp`, on the CPU.

    64-bit numbers are on while it runs and only then, so that each array keeps its dtype.
    """

    def run(*arguments: Any, **keywords: Any) -> Any:
        jax = _import("jax")
        places, arrays = _differentiable(function, arguments)
        structure = Structure()

        def of_arrays(*traced: Any) -> tuple[list[Any], list[Any]]:
            return structure.split(function(*_replaced(constants, places, traced), **keywords))

        with _jax_float64(jax):
            constants = map_arrays(jax.numpy.array, arguments)
            inputs = [map_arrays(jax.numpy.array, array) for array in arrays]
            outputs, pullback, others = jax.vjp(of_arrays, *inputs, has_aux=True)
            y = structure.join(list(map(np.array, outputs)), list(map(np.array, others)))

        def vjp(*dys: Any) -> tuple[Any, ...]:
            with _jax_float64(jax):
                cotangents = structure.cotangents(dys, outputs)
                gradients = jax.tree.map(
                    _from_jax, pullback(list(map(jax.numpy.array, cotangents)))
                )
            return _by_argument(len(arguments), places, gradients)

        return y, vjp

    return run


STYLES: dict[str, Callable[[Any], Function]] = {
    "vjp": vjp_style,
    "cache": cache_style,
    "autograd": autograd_style,
    "jax": jax_style,
    "forward": forward_style,
}
"""The styles of NumPy functions."""


class Structure:
    """The nesting of a traced result.

    `split` takes its arrays out, in order, and `join` puts their values in their places.
    """

    def __init__(self) -> None:
        self._skeleton: Any = None
        self._is_float: list[bool] = []

    def split(self, y: Any) -> tuple[list[Any], list[Any]]:
        """The floating-point arrays of a result, and its other arrays."""
        arrays: list[Any] = []
        self._skeleton = _skeleton(y, arrays)
        self._is_float = [np.issubdtype(array.dtype, np.floating) for array in arrays]
        pairs = list(zip(arrays, self._is_float, strict=True))
        return [a for a, floating in pairs if floating], [
            a for a, floating in pairs if not floating
        ]

    def join(self, floats: Sequence[Any], others: Sequence[Any]) -> Any:
        """The result with these arrays."""
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
    """The place of an array in a result."""

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


def _differentiable(
    function: Function, arguments: Sequence[Any]
) -> tuple[list[int], tuple[Any, ...]]:
    """The places and values of the arguments that have gradients."""
    places = [i for i, argument in enumerate(arguments) if has_float(argument)]
    if not places:
        raise ValueError(f"{label(function)}: got no floating-point array, takes at least one")
    return places, tuple(arguments[i] for i in places)


def _replaced(arguments: Sequence[Any], places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """The arguments with the values at these places."""
    result = list(arguments)
    for place, value in zip(places, values, strict=True):
        result[place] = value
    return result


def _by_argument(count: int, places: Sequence[int], gradients: Sequence[Any]) -> tuple[Any, ...]:
    """One gradient for each argument: None for those without."""
    return tuple(_replaced([None] * count, places, gradients))


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


def _from_jax(gradient: Any) -> Any:
    """A NumPy array; None for an integer array, whose gradient has jax's dtype float0."""
    array = np.asarray(gradient)
    return None if array.dtype.names else np.array(array)
