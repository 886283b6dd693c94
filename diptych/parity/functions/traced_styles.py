"""Styles of functions that a framework differentiates: HIPS autograd and jax."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from diptych.arrays import is_array, is_float, leaves
from diptych.parity.functions.arguments import label
from diptych.parity.functions.traced_taps import autograd_taps, is_tracing, jax_taps
from diptych.parity.measures.errors import normwise

Function = Callable[..., Any]


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

        with autograd_taps():
            pullback, outputs = autograd.make_vjp(of_arrays, tuple(range(len(arrays))))(*arrays)

        def vjp(*dys: Any) -> list[Any]:
            return _by_argument(arguments, pullback(tuple(results.cotangents(dys, outputs))))

        return results.join(outputs, other_results), vjp

    return run


def jax_style(function: Function) -> Function:
    """A function written with `jax.numpy`, differentiated by `jax.vjp`, on the CPU.

    64-bit numbers are on while it runs and only then, so that each array keeps its dtype.
    Raises: ValueError if its value is another one when it is not differentiated, as that of a
    `custom_vjp` may be.
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

            with jax_taps(jax):
                outputs, pullback, other_results = jax.vjp(of_arrays, *arrays, has_aux=True)
            if not is_tracing():
                _check_value(function, lambda: of_arrays(*arrays)[0], outputs)
            y = results.join(list(map(np.array, outputs)), list(map(np.array, other_results)))

        def vjp(*dys: Any) -> list[Any]:
            with _jax_float64(jax):
                cotangents = map(jax.numpy.array, results.cotangents(dys, outputs))
                with jax_taps(jax):
                    gradients = pullback(list(cotangents))
                return _by_argument(arguments, list(map(np.array, gradients)))

        return y, vjp

    return run


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


def _check_any(function: Function, arrays: Sequence[Any]) -> None:
    if not arrays:
        raise ValueError(f"{label(function)}: got no floating-point array, takes at least one")


def _check_value(function: Function, value: Callable[[], Any], outputs: Sequence[Any]) -> None:
    """Check that a function has the value that it has under `jax.vjp`, but for rounding errors.

    A random function is left to the comparison, which says that it is not deterministic.
    """
    error = _distance(value(), outputs)
    if error > 1e3 and not _distance(value(), value()):
        raise ValueError(
            f"{label(function)}: its value under jax.vjp is off by {error:.1g} eps, takes a "
            "custom_vjp whose first function returns the value itself"
        )


def _distance(values: Sequence[Any], others: Sequence[Any]) -> float:
    """The largest normwise error of several arrays, in units of eps."""
    pairs = zip(map(np.array, values), map(np.array, others), strict=True)
    with np.errstate(all="ignore"):
        return max((normwise(a, b) / float(np.finfo(b.dtype).eps) for a, b in pairs), default=0.0)


def _by_argument(arguments: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
    """The gradients of each argument's floating-point arrays: one, a list, or None."""
    remaining, result = iter(gradients), list[Any]()
    for argument in arguments:
        own = [next(remaining) for _, array in leaves(argument) if is_float(array)]
        result.append(own[0] if is_array(argument) and own else own or None)
    return result


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
