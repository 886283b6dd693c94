"""Arrays that know which values they were computed from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from diptych.arrays import base_arrays, leaves, map_arrays

Origin = tuple[str, str]
"""(name of the call, name of its output), such as ("encode", ".mu"); the call "" is the input"""
Origins = frozenset[Origin]
NOTHING: Origins = frozenset()


class TracedArray(np.ndarray):
    """An array with the origins of its values: every operation hands on those of its operands.

    Where a value is written into a part of another array, its origins are lost. Layers do so
    inside, and the result of each traced call has that call as its origin.
    """

    origins: Origins = NOTHING

    def __array_finalize__(self, source: Any) -> None:
        self.origins = getattr(source, "origins", NOTHING)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        if out is not None:
            options["out"] = base_arrays(tuple(out), TracedArray)
        result = getattr(ufunc, method)(*base_arrays(inputs, TracedArray), **options)
        origins = _union((inputs, tuple(out or ())))
        if out is None:
            return with_origins(result, origins)
        for array in out:
            if isinstance(array, TracedArray):
                array.origins = origins
        return out[0] if len(out) == 1 else out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = function(*base_arrays(args, TracedArray), **base_arrays(kwargs, TracedArray))
        if function in (np.zeros_like, np.ones_like, np.empty_like, np.full_like):
            return result  # it takes the shape alone
        return with_origins(result, _union((args, kwargs)))


def with_origins(value: Any, origins: Origins) -> Any:
    """The value with all its arrays as views that have these origins."""

    def view(array: Any) -> TracedArray:
        traced = np.asarray(array).view(TracedArray)
        traced.origins = origins
        return traced

    return map_arrays(view, value)


def outputs_of(call: str, value: Any, prefix: str = "") -> Any:
    """The value with each of its arrays as an output of `call`, under the array's own name."""
    names = iter([name for name, _ in leaves(value, prefix)])
    return map_arrays(lambda array: with_origins(array, frozenset({(call, next(names))})), value)


def origins_of(value: Any) -> Origins:
    """The origins of an array; none for anything else."""
    return getattr(value, "origins", NOTHING)


def _union(value: Any) -> Origins:
    return frozenset().union(*(array.origins for array in _arrays(value)))


def _arrays(value: Any) -> Iterator[TracedArray]:
    if isinstance(value, TracedArray):
        yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _arrays(item)
