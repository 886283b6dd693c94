"""The arguments of a function: which are inputs, which are parameters, and their gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter as Argument
from typing import Any

import numpy as np

from diptych.arrays import is_array, is_float, leaves

_POSITIONAL = (Argument.POSITIONAL_ONLY, Argument.POSITIONAL_OR_KEYWORD)


class Arguments:
    """The order in which a function takes inputs and parameters.

    If each parameter is an argument's name, it is passed there and the inputs fill the other
    arguments in order; otherwise the parameters follow the inputs in the order of the dict.
    `input_count` None is for a function that is called with inputs alone.
    """

    def __init__(
        self, function: Callable[..., Any], params: Sequence[str], input_count: int | None
    ) -> None:
        self.label, self.params = label(function), tuple(params)
        own = positional(function)
        by_name = bool(params) and {argument.name for argument in own}.issuperset(params)
        self._order = [argument.name for argument in own] if by_name else None
        self._names = [argument.name for argument in own]
        inputs = [argument for argument in own if not by_name or argument.name not in params]
        if input_count is not None:
            extra = range(len(inputs), input_count)
            inputs = inputs[:input_count] + [_argument(f"x{i}") for i in extra]
            inputs = [_argument(argument.name) for argument in inputs]
        rest = Argument("options", Argument.VAR_KEYWORD)
        self.signature = inspect.Signature([_argument("_module"), *inputs, rest])
        """The signature of the module's forward, with the names of the function's inputs"""

    def places(self, input_count: int) -> list[str | int]:
        """The arguments in order: the name of a parameter, or the number of an input."""
        if self._order is None:
            return [*range(input_count), *self.params]
        result: list[str | int] = []
        numbers, missing = iter(range(input_count)), set(self.params)
        for name in self._order:
            if name in missing:
                result.append(name)
                missing.remove(name)
            else:
                number = next(numbers, None)
                if number is None:
                    break
                result.append(number)
        left_over = len(list(numbers))
        if missing or left_over:
            raise ValueError(
                f"{self.label}: got {input_count} inputs and the parameters "
                f"{', '.join(self.params)}, takes {', '.join(self._order)}"
            )
        return result

    def fill(self, inputs: Sequence[Any], params: Mapping[str, Any]) -> list[Any]:
        """All arguments of a call, in order."""
        places = self.places(len(inputs))
        return [params[place] if isinstance(place, str) else inputs[place] for place in places]

    def gradients(
        self, result: Any, inputs: Sequence[Any], params: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], tuple[Any, ...]]:
        """The gradients of the parameters by name, and one for each array of the inputs.

        `result` is what the function's vjp returned: one gradient, a sequence with one for each
        argument or for each argument with floating-point arrays, or a dict with the names of
        arguments or "d" + name. None is no gradient.
        Raises: ValueError for another number of gradients or an unknown name.
        """
        places, arguments = self.places(len(inputs)), self.fill(inputs, params)
        names = [self._name(place, i) for i, place in enumerate(places)]
        by_place = self._by_place(result, places, arguments, names)
        of_params: dict[str, np.ndarray] = {}
        of_inputs: dict[int, list[Any]] = {}
        for place, argument, name, gradient in zip(places, arguments, names, by_place, strict=True):
            if isinstance(place, int):
                of_inputs[place] = self._flat(gradient, argument, name)
            elif gradient is not None:
                of_params[place] = np.asarray(gradient)
        return of_params, tuple(g for i in range(len(inputs)) for g in of_inputs[i])

    def _by_place(
        self, result: Any, places: Sequence[Any], arguments: Sequence[Any], names: Sequence[str]
    ) -> list[Any]:
        """One gradient, or None, for each argument."""
        only = arguments[0] if len(arguments) == 1 else None
        if isinstance(result, Mapping) and not isinstance(only, Mapping):
            return self._by_name(result, places, names)
        nested = isinstance(only, Mapping | tuple | list)
        items = list(result) if isinstance(result, tuple | list) and not nested else [result]
        if len(items) == len(arguments):
            return items
        floats = [has_float(argument) for argument in arguments]
        if len(items) != sum(floats):
            expected = ", ".join(n for n, is_float in zip(names, floats, strict=True) if is_float)
            raise ValueError(
                f"{self.label}: got {len(items)} gradients, takes {sum(floats)}: of {expected}"
            )
        remaining = iter(items)
        return [next(remaining) if floating else None for floating in floats]

    def _by_name(
        self, result: Mapping[str, Any], places: Sequence[Any], names: Sequence[str]
    ) -> list[Any]:
        spellings = {}
        for i, (place, name) in enumerate(zip(places, names, strict=True)):
            for spelling in {name, place if isinstance(place, str) else name}:
                spellings.update({spelling: i, f"d{spelling}": i})
        unknown = sorted(map(str, result.keys() - spellings.keys()))
        if unknown:
            raise ValueError(
                f"{self.label}: got a gradient {', '.join(map(repr, unknown))}, "
                f"takes {', '.join(spellings)}"
            )
        gradients: list[Any] = [None] * len(places)
        for name, gradient in result.items():
            gradients[spellings[name]] = gradient
        return gradients

    def _flat(self, gradient: Any, argument: Any, name: str) -> list[Any]:
        """One gradient, or None, for each array of an input."""
        arrays = [array for _, array in leaves(argument)]
        if gradient is None or not arrays:
            return [None] * len(arrays)
        if is_array(argument):
            return [gradient]
        items = [item for _, item in leaves(gradient)]
        if len(items) == len(arrays):
            return items
        floats = [is_float(array) for array in arrays]
        if len(items) != sum(floats):
            raise ValueError(
                f"{self.label}: got {len(items)} gradients for {name!r}, takes {sum(floats)}"
            )
        remaining = iter(items)
        return [next(remaining) if floating else None for floating in floats]

    def _name(self, place: str | int, position: int) -> str:
        """The function's own name of an argument."""
        if isinstance(place, str) and self._order is not None:
            return place
        return self._names[position] if position < len(self._names) else f"x{position}"


def has_float(argument: Any) -> bool:
    """True if an argument is, or contains, a floating-point array."""
    return any(is_float(array) for _, array in leaves(argument))


def label(function: Any) -> str:
    """The name of a function, of a pair of functions or of a partial one, for messages."""
    if isinstance(function, tuple):
        return label(function[0])
    name = getattr(function, "__name__", None) or getattr(function, "func", type(function))
    return name if isinstance(name, str) else label(name)


def positional(function: Callable[..., Any]) -> list[Argument]:
    """The positional arguments of a function; none if it does not tell."""
    try:
        arguments = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin
        return []
    return [argument for argument in arguments if argument.kind in _POSITIONAL]


def _argument(name: str) -> Argument:
    return Argument(name, Argument.POSITIONAL_OR_KEYWORD)
