"""Parameters in nested dicts, lists and tuples, as functions of jax and autograd take them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from diptych.arrays import is_array, leaves, map_arrays, to_numpy
from diptych.parity.functions.arguments import positional
from diptych.parity.functions.traced_styles import Structure
from numpy_ref.nn.module import Module

ARGUMENT = "params"
"""The name of the argument that gets all parameters at once"""
STYLES = ("autograd", "jax", "torch", "forward")
"""The styles in which a function may have this argument: it does not return its gradient."""


def named_arrays(params: Any) -> dict[str, np.ndarray]:
    """Every array of nested dicts, lists and tuples, under names such as "w" and "layers.0.w".

    >>> list(named_arrays([(np.zeros(2), np.zeros(3)), {"w": np.zeros(4)}]))
    ['0.0', '0.1', '1.w']
    """
    if isinstance(params, Mapping) and not any(map(_is_nested, params.values())):
        return {name: to_numpy(array) for name, array in params.items()}
    arrays: dict[str, np.ndarray] = {}
    for field, array in leaves(params):
        name = re.sub(r"[.'\[\]]+", ".", field).strip(".")
        if name in arrays:
            raise ValueError(f"params: got two arrays of the name {name!r}, takes one")
        arrays[name] = to_numpy(array)
    return arrays


def takes_nest(function: Any, style: str, params: Any) -> bool:
    """True for a function of one of the styles whose argument `params` gets all parameters."""
    if params is None or style not in STYLES or isinstance(function, nn.Module | Module):
        return False
    own_name = isinstance(params, Mapping) and ARGUMENT in params  # one parameter of that name
    names = [argument.name for argument in positional(function)] if callable(function) else []
    return ARGUMENT in names and not own_name


def flattened(function: Callable[..., Any], params: Any) -> Callable[..., Any]:
    """A function of `params` and inputs, in any order, as one of inputs and then the arrays."""
    names = [argument.name for argument in positional(function)]
    position, nest = names.index(ARGUMENT), Structure()
    count = len(nest.split(map_arrays(to_numpy, params))[0])

    @functools.wraps(function)
    def of_arrays(*arguments: Any, **keywords: Any) -> Any:
        inputs = list(arguments[: len(arguments) - count])
        inputs.insert(position, nest.join(arguments[len(inputs) :], ()))
        return function(*inputs, **keywords)

    signature = inspect.signature(function)
    others = [a for name, a in signature.parameters.items() if name != ARGUMENT]
    of_arrays.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
    return of_arrays


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | tuple | list) and not is_array(value)
