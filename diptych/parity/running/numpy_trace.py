"""Record a NumPy module: cotangents and input gradients are recorded as vjps are called."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from diptych.arrays import is_float, leaves, map_arrays
from diptych.parity.running.noisy import Noise
from diptych.parity.running.trace import Call, Methods, Trace, add_gradient


class NumpyTrace(Trace):
    """The trace of a `numpy_ref` Module. With `noise`, each call has an error in its results."""

    def __init__(
        self,
        modules: Mapping[str, Any],
        methods: Methods,
        names: Mapping[str, str] | None = None,
        noise: Noise | None = None,
    ) -> None:
        super().__init__(modules, methods, names)
        self.noise = noise

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        result = original(*arguments)
        if self.noise is not None:
            result = map_arrays(self.noise.perturbed, result)
        if has_vjp(result):
            self._end(call, result[0])
            vjp = functools.partial(self._run_vjp, call, result[1])
            return result[0], functools.update_wrapper(vjp, result[1])
        call.differentiable = False
        # a method that is no layer, such as a helper, is not compared
        if call.method == "forward" or call.parent is None:
            self._end(call, result)
        else:
            self.helpers.add(call.name)
        return result

    def _run_vjp(self, call: Call, vjp: Any, *cotangents: Any) -> Any:
        """Call a vjp, and record its cotangents and the gradients that it returns."""
        if self._open:
            call.differentiated_inside = True
        if self.closed or self._open:
            return vjp(*cotangents)
        first = not call.output_grads and not call.input_grads
        for name, cotangent in _named_cotangents(call, cotangents):
            add_gradient(call.output_grads, name, cotangent)
        if first:
            self.events.append(("cotangent", call))
        try:
            result = vjp(*cotangents)
        except Exception:
            self.failed = self.failed or call.name
            raise
        # without inputs these are gradients of parameters, which are compared where they add up
        for name, gradient in named_gradients(call, result) if call.inputs else []:
            add_gradient(call.input_grads, name, gradient)
            call.variables.add(name)
        if first:
            self.events.append(("vjp", call))
        return result

    def tap(self, name: str, value: Any) -> Any:
        call = self._new_call(name, "", "tap")
        call.differentiable = False
        self._end(call, value)
        return value


def has_vjp(result: Any) -> bool:
    """True for `(y, vjp)`."""
    return isinstance(result, tuple) and len(result) == 2 and callable(result[1])


def _named_cotangents(call: Call, cotangents: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """(output name, cotangent): by position for arrays and tuples, by name for a mapping."""
    if len(cotangents) == 1 and isinstance(cotangents[0], Mapping):
        return list(leaves(cotangents[0]))
    arrays, names = _flat(cotangents), [*call.outputs]
    if arrays and len(arrays) != len(names):
        names = [name for name, array in call.outputs.items() if is_float(array)]
    if arrays and len(arrays) != len(names):
        raise ValueError(
            f"{call.name}: its vjp got {len(arrays)} cotangents for {len(call.outputs)} outputs"
        )
    return list(zip(names, arrays, strict=False))


def named_gradients(call: Call, result: Any) -> list[tuple[str, Any]]:
    """(input name, gradient) of what a vjp returned: by position, or by argument in a mapping.

    A vjp may skip an argument that was None, or return a gradient for it too.
    """
    if isinstance(result, Mapping):
        positions = {name: str(i) for i, name in enumerate(call.argument_names)}
        if not positions.keys() >= result.keys():  # of a mapping that is the only argument
            positions = {key: f"0.{key}" for key in result}
        return [leaf for key, value in result.items() for leaf in leaves(value, positions[key])]
    gradients, names = _flat((result,)), list[str | None](call.inputs)
    if len(gradients) > len(names):
        names = []
        for i, argument in enumerate(call.arguments):
            names += [n for n, _ in leaves(argument, str(i))] or [None]
    if len(gradients) > len(names):
        counts = f"{len(gradients)} gradients for {len(call.inputs)} inputs"
        raise ValueError(f"{call.name}: its vjp gave {counts}")
    pairs = zip(names, gradients, strict=False)
    return [(name, gradient) for name, gradient in pairs if name is not None]


def _flat(values: Any) -> list[Any]:
    """The items of tuples and lists within tuples; None and numbers stay items."""
    return [
        item
        for value in values
        for item in (_flat(value) if isinstance(value, tuple | list) else [value])
    ]
