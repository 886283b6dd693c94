"""Layers of other libraries as modules that `compare` takes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.parity.functions.arguments import Arguments
from diptych.parity.functions.function_modules import FunctionModule, subclass_of
from numpy_ref.nn.module import Module


def layer(
    instance: Any,
    forward: str = "forward",
    backward: str = "backward",
    parameters: str | Mapping[str, str] = "parameters",
    gradients: str = "gradients",
    params: Mapping[str, Any] | None = None,
) -> Module:
    """A layer of another library as a module: an object with a forward and a backward method.

        layer(FullyConnected(...))                           numpy-ml: dicts of both
        layer(dense, parameters={"W": "dW", "b": "db"})      attributes: parameter, its gradient

    `parameters` and `gradients` are the attributes that hold the dicts; an entry of `parameters`
    without a gradient is left alone. `params` are the values of the parameters; by default those
    that the object has. Each call works on a copy of the object, so nothing that it stores is
    carried from call to call.

    Raises: ValueError for an object without these methods and attributes, and for parameters that
    are not arrays yet.
    """
    for method in (forward, backward):
        if not callable(getattr(instance, method, None)):
            raise ValueError(f"layer: got {_type(instance)} without a method {method!r}")
    store = _Store(instance, parameters, gradients, params)
    values = store.read(instance) if params is None else dict(params)

    def run(*arguments: Any, **keywords: Any) -> Any:
        count = len(arguments) - len(values)
        fresh = copy.deepcopy(instance)
        store.write(fresh, dict(zip(values, arguments[count:], strict=True)))
        y = getattr(fresh, forward)(*arguments[:count], **keywords)

        def vjp(*dys: Any) -> tuple[Any, ...]:
            twin = copy.deepcopy(fresh)
            store.clear_gradients(twin)
            result = getattr(twin, backward)(*dys)
            of_inputs = result if isinstance(result, tuple | list) else (result,)
            return (*of_inputs, *store.gradients(twin))

        return y, vjp

    arguments = Arguments(getattr(instance, forward), tuple(values), None)
    arguments.label = _type(instance)
    return subclass_of(FunctionModule, arguments, getattr(instance, forward), run)(values)


class _Store:
    """The parameters and gradients of a layer's object: two dicts, or attributes."""

    def __init__(
        self,
        instance: Any,
        parameters: str | Mapping[str, str],
        gradients: str,
        params: Mapping[str, Any] | None,
    ) -> None:
        self._table = parameters
        self._gradients = gradients
        dicts = (parameters, gradients) if isinstance(parameters, str) else ()
        for attribute in (*dicts, *(() if dicts else parameters)):
            value = getattr(instance, attribute, None)
            if not hasattr(instance, attribute) or (dicts and not isinstance(value, Mapping)):
                kind = "a dict" if dicts else "an attribute"
                raise ValueError(f"layer: got {_type(instance)} without {kind} {attribute!r}")
        if params is not None:
            self.names = list(params)
            if not isinstance(parameters, str) and not params.keys() <= parameters.keys():
                unknown = ", ".join(params.keys() - parameters.keys())
                raise ValueError(f"layer: got params {unknown}, takes {', '.join(parameters)}")
        elif isinstance(parameters, str):
            own, grads = getattr(instance, parameters), getattr(instance, gradients)
            self.names = [name for name in own if name in grads]
        else:
            self.names = list(parameters)

    def read(self, instance: Any) -> dict[str, np.ndarray]:
        """Copies of the parameters. Raises: ValueError for one that is no array."""
        values = {name: self._get(instance, name) for name in self.names}
        for name, value in values.items():
            if not isinstance(value, np.ndarray):
                raise ValueError(
                    f"layer: parameter {name!r} of {_type(instance)} is {type(value).__name__}, "
                    "takes an array; some layers make theirs in a first forward"
                )
        return {name: value.copy() for name, value in values.items()}

    def write(self, instance: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Set the parameters."""
        for name, array in arrays.items():
            if isinstance(self._table, str):
                getattr(instance, self._table)[name] = array
            else:
                setattr(instance, name, array)

    def clear_gradients(self, instance: Any) -> None:
        """Set every gradient to 0: some layers add to them."""
        for name in self.names:
            zeros = np.zeros_like(self._get(instance, name))
            if isinstance(self._table, str):
                getattr(instance, self._gradients)[name] = zeros
            else:
                setattr(instance, self._table[name], zeros)

    def gradients(self, instance: Any) -> list[Any]:
        """The gradients of the parameters, in order."""
        if isinstance(self._table, str):
            return [getattr(instance, self._gradients)[name] for name in self.names]
        return [getattr(instance, self._table[name]) for name in self.names]

    def _get(self, instance: Any, name: str) -> Any:
        if isinstance(self._table, str):
            return getattr(instance, self._table)[name]
        return getattr(instance, name)


def _type(instance: Any) -> str:
    return type(instance).__name__
