"""Record what a panel computes: the input, output and gradients of every named method call.

A method is traced where both panels have it under one module path and one name, and where on the
left it returns `(y, vjp)`. While a trace is open the method is shadowed by a recording one on the
instance; closing it takes the shadow away. Nothing is known of particular models.
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
_PLUMBING = set(dir(Module)) | set(dir(nn.Module))


@dataclass(eq=False)
class Call:
    """One call of a traced method, its arrays by name.

    Outputs are named by their field (".mu"), their position ("[1]") or "" where there is just one;
    inputs by argument position and field ("1.eps"), for the panels may word their arguments
    differently. `words` are this panel's own.
    """

    name: str
    module: str
    method: str
    parent: Call | None
    arguments: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()
    inputs: Arrays = field(default_factory=dict)
    outputs: Arrays = field(default_factory=dict)
    output_grads: Arrays = field(default_factory=dict)
    input_grads: Arrays = field(default_factory=dict)
    tracked: set[str] = field(default_factory=set)
    """on the right: the inputs that autograd follows; all others are constants"""
    followed: bool = True
    """on the right: whether autograd follows an input or an output; else no gradient is due"""

    def title(self, kind: str, leaf: str) -> str:
        """How a row names one of this call's arrays."""
        if kind != "input gradient":
            forward = self.method == "forward" and leaf and self.module
            return f"{self.name}{'.forward' if forward else ''}{leaf}"
        position, dot, rest = leaf.partition(".")
        word = self.words[min(int(position), len(self.words) - 1)]
        return f"{self.name}({word}{dot}{rest})"

    def inside(self, other: Call) -> bool:
        """Whether this call was made by `other`, directly or not."""
        return self.parent is not None and (self.parent is other or self.parent.inside(other))


class Trace(AbstractContextManager["Trace"]):
    """Shared bookkeeping of both panels: which methods, which calls, in which order."""

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
                # someone may have put a method of their own on the instance: it is traced too
                self._shadowed.append((module, method, vars(module).get(method)))
                # not setattr: nn.Module's would look the value over first
                vars(module)[method] = functools.partial(self._run, path, method, original)
        return self

    def __exit__(self, *_: object) -> None:
        for module, method, own in self._shadowed:
            if own is None:
                del vars(module)[method]
            else:
                vars(module)[method] = own
        self._shadowed.clear()
        self.closed = True

    def _begin(self, path: str, method: str, original: Any, arguments: tuple[Any, ...]) -> Call:
        unit = path if method == "forward" and path else ".".join(filter(None, (path, method)))
        self._counts[unit] += 1
        name = unit if self._counts[unit] == 1 else f"{unit}#{self._counts[unit]}"
        call = Call(name, path, method, self._open[-1] if self._open else None)
        call.arguments = map_arrays(_copy, arguments)
        call.words = tuple(inspect.signature(original).parameters)
        for i, argument in enumerate(arguments):
            call.inputs.update((name, to_numpy(a)) for name, a in leaves(argument, str(i)))
        self._open.append(call)
        return call

    def _end(self, call: Call, result: Any) -> None:
        call.outputs = {name: to_numpy(array) for name, array in leaves(result)}
        self.calls[call.name] = call
        self.events.append(("forward", call))

    def _run(self, path: str, method: str, original: Any, *args: Any, **keywords: Any) -> Any:
        bound = inspect.signature(original).bind(*args, **keywords)
        call = self._begin(path, method, original, bound.args)
        try:
            return self._record(call, functools.partial(original, **bound.kwargs), *bound.args)
        finally:
            self._open.remove(call)

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        raise NotImplementedError


class LeftTrace(Trace):
    """Of a NumPy module tree. Cotangents and input gradients are read where vjps are called.

    With `nudge` a call's vjp gets, of each cotangent, what nudge(name of the call, it) returns.
    """

    def __init__(
        self, model: Any, methods: set[tuple[str, str]], perturb: Perturb | None = None
    ) -> None:
        super().__init__(model, methods)
        self.perturb = perturb

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        result = original(*arguments)
        if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
            return result  # value only: not a traced call after all
        self._end(call, result[0])
        return result[0], functools.partial(self._run_vjp, call, result[1])

    def _run_vjp(self, call: Call, vjp: Any, *cotangents: Any) -> Any:
        if self.closed:
            return vjp(*cotangents)
        first = not call.output_grads and not call.input_grads
        handed = _flat(cotangents)
        if handed and len(handed) != len(call.outputs):
            raise ValueError(
                f"{call.name}: its vjp got {len(handed)} cotangents for {len(call.outputs)} outputs"
            )
        for name, cotangent in zip(call.outputs, handed, strict=False):
            _add(call.output_grads, name, cotangent)
        if first:
            self.events.append(("cotangent", call))
        if self.perturb is not None:
            cotangents = map_arrays(functools.partial(self.perturb, call.name), cotangents)
        result = vjp(*cotangents)
        gradients = _flat((result,))
        if len(gradients) > max(1, len(call.inputs)):
            gave = f"{len(gradients)} gradients for {len(call.inputs)} inputs"
            raise ValueError(f"{call.name}: its vjp gave {gave}")
        for name, gradient in zip(call.inputs, gradients, strict=False):
            _add(call.input_grads, name, gradient)
        if first:
            self.events.append(("vjp", call))
        return result


class RightTrace(Trace):
    """Of a PyTorch module tree. Inputs and outputs are aliased, so that an input's gradient is this
    call's own share, and an output's is what its callers send, not what the call itself makes of
    it. Gradients are read by tensor hooks."""

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        arguments = map_arrays(_alias, arguments)
        tensors = [tensor for argument in arguments for _, tensor in leaves(argument)]
        for name, tensor in zip(call.inputs, tensors, strict=True):
            if _tracked(tensor):
                call.tracked.add(name)
            _hook(tensor, call.input_grads, name)
        result = map_arrays(_alias, original(*arguments))
        self._end(call, result)
        call.followed = bool(call.tracked) or any(_tracked(tensor) for _, tensor in leaves(result))
        for name, tensor in leaves(result):
            _hook(tensor, call.output_grads, name)
        return result


def shared_methods(left: Module, right: nn.Module) -> set[tuple[str, str]]:
    """(module path, method) for each public method that both trees have, `forward` included."""
    twins = dict(right.named_modules())
    return {
        (path, method)
        for path, module in left.named_modules()
        if path in twins
        for method in [*_public(module), "forward"]
        if _defines(module, method) and _defines(twins[path], method)
    }


def _public(module: Module) -> Iterator[str]:
    return (m for m in dir(type(module)) if not m.startswith("_") and m not in _PLUMBING)


def _defines(module: Any, method: str) -> bool:
    result = getattr(type(module), method, None)
    blanks = (Module.forward, nn.Module.forward)
    return inspect.isfunction(result) and result not in blanks


def _copy(array: Any) -> Any:
    return array.detach().clone() if isinstance(array, Tensor) else np.array(array)


def _alias(array: Any) -> Any:
    return array.clone() if _tracked(array) else array


def _tracked(array: Any) -> bool:
    return isinstance(array, Tensor) and array.requires_grad and is_float(array)


def _flat(values: tuple[Any, ...]) -> list[Any]:
    """The items of tuples within tuples; None and numbers stay items."""
    return [
        item for value in values for item in (_flat(value) if isinstance(value, tuple) else [value])
    ]


def _hook(tensor: Any, store: Arrays, name: str) -> None:
    if _tracked(tensor):
        tensor.register_hook(lambda grad: _add(store, name, grad))


def _add(store: Arrays, name: str, gradient: Any) -> None:
    """Add to what is stored, or store it; None, plain 0 and no values at all: no gradient flows."""
    if gradient is None or (not isinstance(gradient, np.ndarray | Tensor) and gradient == 0):
        return
    array = to_numpy(gradient)
    if array.size:
        store[name] = store[name] + array if name in store else array
