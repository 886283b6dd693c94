"""Record the inputs, outputs and gradients of every method call of a panel.

A method is traced if both panels have it under the same module path and name, and if the left one
returns `(y, vjp)`. While a trace is open, a recording method shadows it on the instance; closing
the trace removes the shadow. No model is treated specially.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from diptych.arrays import is_float, leaves, map_arrays, to_numpy
from numpy_ref.nn.module import Module

Arrays = dict[str, np.ndarray]
Perturb = Callable[[str, Any], Any]
Phase = Literal["forward", "cotangent", "vjp"]
_INFRASTRUCTURE = set(dir(Module)) | set(dir(nn.Module))


@dataclass(eq=False)
class Call:
    """One call of a traced method, with its arrays by name.

    Outputs are named by their field (".mu"), their position ("[1]"), or "" for a single one.
    Inputs are named by argument position and field ("1.eps"), because the two panels may name
    their arguments differently; `argument_names` are the names of this panel.
    """

    name: str
    module: str
    method: str
    parent: Call | None
    arguments: tuple[Any, ...] = ()
    argument_names: tuple[str, ...] = ()
    inputs: Arrays = field(default_factory=dict)
    outputs: Arrays = field(default_factory=dict)
    output_grads: Arrays = field(default_factory=dict)
    input_grads: Arrays = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)
    """right panel: names of the inputs that require a gradient; all others are constants"""
    differentiable: bool = True
    """right panel: False if neither an input nor an output requires a gradient"""

    def title(self, kind: str, leaf: str) -> str:
        """The name of one of this call's arrays in a report."""
        if kind != "input gradient":
            forward = self.method == "forward" and leaf and self.module
            return f"{self.name}{'.forward' if forward else ''}{leaf}"
        position, dot, rest = leaf.partition(".")
        argument = self.argument_names[min(int(position), len(self.argument_names) - 1)]
        return f"{self.name}({argument}{dot}{rest})"

    def inside(self, other: Call) -> bool:
        """True if `other` made this call, directly or through other calls."""
        return self.parent is not None and (self.parent is other or self.parent.inside(other))


class Trace(AbstractContextManager["Trace"]):
    """Records the calls of the given methods of a model, in order; the base of both panels' traces.

    `methods` are (module path, method name) pairs.
    """

    def __init__(self, model: Any, methods: set[tuple[str, str]]) -> None:
        self.model, self.methods = model, methods
        self.calls: dict[str, Call] = {}
        self.events: list[tuple[Phase, Call]] = []
        self._open: list[Call] = []
        self._counts: Counter[str] = Counter()
        self._shadowed: list[tuple[Any, str, Any]] = []
        self.closed = False

    def __enter__(self) -> Trace:
        for path, module in self.model.named_modules():
            for method in sorted(name for owner, name in self.methods if owner == path):
                original = getattr(module, method)
                # a method assigned to the instance itself is traced as well
                self._shadowed.append((module, method, vars(module).get(method)))
                # not setattr: nn.Module's inspects the value first
                vars(module)[method] = functools.partial(self._run, path, method, original)
        return self

    def __exit__(self, *_: object) -> None:
        for module, method, instance_method in self._shadowed:
            if instance_method is None:
                del vars(module)[method]
            else:
                vars(module)[method] = instance_method
        self._shadowed.clear()
        self.closed = True

    def _begin(self, path: str, method: str, original: Any, arguments: tuple[Any, ...]) -> Call:
        """Open a call, named by its path and method and numbered from its second use on."""
        unit = path if method == "forward" and path else ".".join(filter(None, (path, method)))
        self._counts[unit] += 1
        name = unit if self._counts[unit] == 1 else f"{unit}#{self._counts[unit]}"
        call = Call(name, path, method, self._open[-1] if self._open else None)
        call.arguments = map_arrays(_copy, arguments)
        call.argument_names = tuple(inspect.signature(original).parameters)
        for i, argument in enumerate(arguments):
            call.inputs.update((name, to_numpy(a)) for name, a in leaves(argument, str(i)))
        self._open.append(call)
        return call

    def _end(self, call: Call, result: Any) -> None:
        """Record the outputs of a call."""
        call.outputs = {name: to_numpy(array) for name, array in leaves(result)}
        self.calls[call.name] = call
        self.events.append(("forward", call))

    def _run(self, path: str, method: str, original: Any, *args: Any, **keywords: Any) -> Any:
        """Run the original method as a recorded call."""
        bound = inspect.signature(original).bind(*args, **keywords)
        call = self._begin(path, method, original, bound.args)
        try:
            return self._record(call, functools.partial(original, **bound.kwargs), *bound.args)
        finally:
            self._open.remove(call)

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        """Run the original method, and record its outputs and gradients in `call`."""
        raise NotImplementedError


class LeftTrace(Trace):
    """The trace of a NumPy module. It records cotangents and input gradients as vjps are called.

    `perturb(name of the call, cotangent)`, if not None, replaces each cotangent of each call.
    """

    def __init__(
        self, model: Any, methods: set[tuple[str, str]], perturb: Perturb | None = None
    ) -> None:
        super().__init__(model, methods)
        self.perturb = perturb

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        result = original(*arguments)
        if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
            return result  # no vjp: nothing to record
        self._end(call, result[0])
        return result[0], functools.partial(self._run_vjp, call, result[1])

    def _run_vjp(self, call: Call, vjp: Any, *cotangents: Any) -> Any:
        """Call a vjp, and record its cotangents and the gradients that it returns."""
        if self.closed:
            return vjp(*cotangents)
        first = not call.output_grads and not call.input_grads
        arrays = _flat(cotangents)
        if arrays and len(arrays) != len(call.outputs):
            raise ValueError(
                f"{call.name}: its vjp got {len(arrays)} cotangents for {len(call.outputs)} outputs"
            )
        for name, cotangent in zip(call.outputs, arrays, strict=False):
            _add(call.output_grads, name, cotangent)
        if first:
            self.events.append(("cotangent", call))
        if self.perturb is not None:
            cotangents = map_arrays(functools.partial(self.perturb, call.name), cotangents)
        result = vjp(*cotangents)
        gradients = _flat((result,))
        # without inputs these are gradients of parameters, which are compared where they add up
        names = _gradient_names(call, len(gradients)) if call.inputs else []
        for argument, gradient in zip(names, gradients, strict=False):
            if argument is not None:
                _add(call.input_grads, argument, gradient)
        if first:
            self.events.append(("vjp", call))
        return result


class RightTrace(Trace):
    """The trace of a PyTorch module. Tensor hooks record the gradients.

    Each call gets aliases of its inputs and returns aliases of its outputs. So the gradient of an
    input is the contribution of this call alone, and the gradient of an output comes from its
    callers alone.
    """

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        arguments = map_arrays(_alias, arguments)
        tensors = [tensor for argument in arguments for _, tensor in leaves(argument)]
        for name, tensor in zip(call.inputs, tensors, strict=True):
            if _requires_grad(tensor):
                call.variables.add(name)
            _hook(tensor, call.input_grads, name)
        result = map_arrays(_alias, original(*arguments))
        self._end(call, result)
        call.differentiable = bool(call.variables) or any(
            _requires_grad(tensor) for _, tensor in leaves(result)
        )
        for name, tensor in leaves(result):
            _hook(tensor, call.output_grads, name)
        return result


def shared_methods(left: Module, right: nn.Module) -> set[tuple[str, str]]:
    """(module path, method) of each public method that both models have, `forward` included."""
    right_modules = dict(right.named_modules())
    return {
        (path, method)
        for path, module in left.named_modules()
        if path in right_modules
        for method in [*_public(module), "forward"]
        if _defines(module, method) and _defines(right_modules[path], method)
    }


def _public(module: Module) -> Iterator[str]:
    return (m for m in dir(type(module)) if not m.startswith("_") and m not in _INFRASTRUCTURE)


def _defines(module: Any, method: str) -> bool:
    function = getattr(type(module), method, None)
    placeholders = (Module.forward, nn.Module.forward)
    return inspect.isfunction(function) and function not in placeholders


def _copy(array: Any) -> Any:
    return array.detach().clone() if isinstance(array, Tensor) else np.array(array)


def _alias(array: Any) -> Any:
    return array.clone() if _requires_grad(array) else array


def _requires_grad(array: Any) -> bool:
    return isinstance(array, Tensor) and array.requires_grad and is_float(array)


def _flat(values: tuple[Any, ...]) -> list[Any]:
    """The items of tuples within tuples; None and numbers stay items."""
    return [
        item for value in values for item in (_flat(value) if isinstance(value, tuple) else [value])
    ]


def _gradient_names(call: Call, count: int) -> list[str | None]:
    """The inputs that the gradients of a vjp belong to; None where an argument was None.

    A vjp may skip an argument that was None, or return a gradient for it too.
    """
    names: list[str | None] = [*call.inputs]
    if count > len(names):
        names = []
        for i, argument in enumerate(call.arguments):
            names += [None] if argument is None else [n for n, _ in leaves(argument, str(i))]
    if count > len(names):
        counts = f"{count} gradients for {len(call.inputs)} inputs"
        raise ValueError(f"{call.name}: its vjp gave {counts}")
    return names


def _hook(tensor: Any, store: Arrays, name: str) -> None:
    if _requires_grad(tensor):
        tensor.register_hook(lambda grad: _add(store, name, grad))


def _add(store: Arrays, name: str, gradient: Any) -> None:
    """Add a gradient to the stored one. None, the number 0 and empty arrays mean no gradient."""
    if gradient is None or (not isinstance(gradient, np.ndarray | Tensor) and gradient == 0):
        return
    array = to_numpy(gradient)
    if array.size:
        store[name] = store[name] + array if name in store else array
