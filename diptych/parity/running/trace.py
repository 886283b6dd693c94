"""Record the inputs, outputs and gradients of every method call of a model.

While a trace is open, a recording method shadows each traced method on its instance; closing the
trace removes the shadows. No model is treated specially. `numpy_trace` and `torch_trace` say how
each panel's gradients are recorded.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from diptych.arrays import is_array, leaves, map_arrays, to_numpy

Arrays = dict[str, np.ndarray]
Phase = Literal["forward", "cotangent", "vjp"]
Methods = set[tuple[str, str]]

_ACTIVE: ContextVar[Trace | None] = ContextVar("trace", default=None)


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
    """names of the inputs that have a gradient; all others are constants"""
    differentiable: bool = True
    """False if neither an input nor an output requires a gradient, or if there is no vjp"""
    differentiated_inside: bool = False
    """True if the vjp was called inside a forward, where gradients are intermediate values"""
    without_gradient: dict[str, str] = field(default_factory=dict)
    """inputs and outputs whose gradient cannot be recorded, each with the reason"""
    dtypes: dict[str, str] = field(default_factory=dict)
    """outputs in a dtype that NumPy lacks, and Python numbers ("number")"""

    @property
    def unit(self) -> str:
        """The name without the number of the call."""
        return self.name.partition("#")[0]

    def title(self, kind: str, leaf: str) -> str:
        """The name of one of this call's arrays in a report."""
        if kind != "input gradient":
            forward = self.method == "forward" and leaf and self.module
            return f"{self.name}{'.forward' if forward else ''}{leaf}"
        argument, rest = self._argument(leaf)
        return f"{self.name}({argument}{rest})"

    def _argument(self, leaf: str) -> tuple[str, str]:
        """The argument's name and the field within it, of an input named "1.eps" or "0[2]"."""
        digits = len(leaf) - len(leaf.lstrip("0123456789"))
        position, rest = int(leaf[:digits]), leaf[digits:]
        names = self.argument_names or ("input",)
        return names[min(position, len(names) - 1)], rest

    @property
    def is_root(self) -> bool:
        """True for the call that the comparison made."""
        return self.parent is None and not self.module and self.method != "tap"

    def inside(self, other: Call) -> bool:
        """True if `other` made this call, directly or through other calls."""
        return self.parent is not None and (self.parent is other or self.parent.inside(other))


class Trace(AbstractContextManager["Trace"]):
    """Records the calls of methods of a model, in order; the base of both panels' traces.

    `modules` holds the model and its submodules by path, and `methods` the (path, method name)
    pairs to record. `names` gives a path another name in the calls; so two modules of this model
    that are one module in the other are recorded under one name.
    """

    def __init__(
        self, modules: Mapping[str, Any], methods: Methods, names: Mapping[str, str] | None = None
    ) -> None:
        self.modules, self.methods, self.names = modules, methods, names or {}
        self.calls: dict[str, Call] = {}
        self.events: list[tuple[Phase, Call]] = []
        self.helpers: set[str] = set()
        """names of the calls of methods that are no layers, which are not compared"""
        self.failed: str | None = None
        """name of the innermost call that raised an exception"""
        self._open: list[Call] = []
        self._counts: Counter[str] = Counter()
        self._shadowed: list[tuple[Any, str, Any]] = []
        self._token: Token[Trace | None] | None = None
        self.closed = False

    def __enter__(self) -> Self:
        visited: set[tuple[int, str]] = set()
        by_path: dict[str, list[str]] = {}
        for path, method in sorted(self.methods):
            by_path.setdefault(path, []).append(method)
        try:
            for path, module in self.modules.items():
                for method in by_path.get(path, ()):
                    if (id(module), method) not in visited:
                        visited.add((id(module), method))
                        self._shadow(self.names.get(path, path), module, method)
        except BaseException:
            self.__exit__()
            raise
        self._token = _ACTIVE.set(self)
        return self

    def _shadow(self, path: str, module: Any, method: str) -> None:
        """Put a recording method in front of a method of one instance."""
        original = getattr(module, method)
        # a method assigned to the instance itself is traced as well
        self._shadowed.append((module, method, vars(module).get(method)))
        # not setattr: nn.Module's inspects the value first
        vars(module)[method] = functools.partial(self._run, path, method, original)

    def __exit__(self, *_: object) -> None:
        for module, method, instance_method in self._shadowed:
            if instance_method is None:
                vars(module).pop(method, None)
            else:
                vars(module)[method] = instance_method
        self._shadowed.clear()
        self.closed = True
        if self._token is not None:  # last: it raises in another context than that of __enter__
            token, self._token = self._token, None
            _ACTIVE.reset(token)

    def _begin(self, path: str, method: str, names: tuple[str, ...], arguments: Any) -> Call:
        """Open a call, named by its path and method and numbered from its second use on."""
        unit = path if method == "forward" and path else ".".join(filter(None, (path, method)))
        call = self._new_call(unit, path, method)
        call.arguments, call.argument_names = _copies(arguments), names
        for i, argument in enumerate(call.arguments):
            named = leaves(argument, str(i))  # arrays of NumPy are copies already
            call.inputs |= {n: a if type(a) is np.ndarray else to_numpy(a) for n, a in named}
        self._open.append(call)
        return call

    def _new_call(self, unit: str, path: str, method: str) -> Call:
        self._counts[unit] += 1
        name = unit if self._counts[unit] == 1 else f"{unit}#{self._counts[unit]}"
        return Call(name, path, method, self._open[-1] if self._open else None)

    def _end(self, call: Call, result: Any) -> None:
        """Record the outputs of a call. Python's numbers count as outputs of the root."""
        outputs = dict(leaves(result, numbers=call.parent is None))
        call.outputs = {name: to_numpy(array) for name, array in outputs.items()}
        call.dtypes = {name: d for name, array in outputs.items() if (d := _unusual_dtype(array))}
        self.calls[call.name] = call
        self.events.append(("forward", call))

    def _run(self, path: str, method: str, original: Any, *args: Any, **keywords: Any) -> Any:
        """Run the original method as a recorded call."""
        names, arguments, rest = bound_arguments(original, args, keywords)
        call = self._begin(path, method, names, arguments)
        try:
            return self._record(call, functools.partial(original, **rest), *arguments)
        except Exception:
            self._fail(call)
            raise
        finally:
            self._open.remove(call)

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        """Run the original method, and record its outputs and gradients in `call`."""
        raise NotImplementedError

    def _fail(self, call: Call) -> None:
        """Forget a call that raised; a forward that catches the exception may make it again."""
        self.failed = self.failed or call.name
        self._counts[call.unit] -= 1

    def root_call(self, method: str, arguments: Any, result: Any) -> Call:
        """The call of the root method, recorded here if it went past the model's methods."""
        root = next((call for call in self.calls.values() if call.is_root), None)
        if root is None:
            root = self._begin("", method, (), arguments)
            self._open.remove(root)
            self._end(root, result)
            self.events.append(("vjp", root))
        return root

    def tap(self, name: str, value: Any) -> Any:
        """Record `value` as the output of a call of its own; returns what to go on with."""
        raise NotImplementedError

    def tap_gradient(self, name: str, gradient: Any) -> None:
        """Record the gradient of a tap, by a vjp that runs backwards: the last tap comes first."""
        taps = [c for c in self.calls.values() if c.method == "tap" and c.unit == name]
        waiting = [call for call in taps if not call.output_grads]
        if not waiting:
            raise ValueError(f"tap_gradient: got {name!r}, takes the name of an earlier tap")
        call = waiting[-1]
        call.output_grads = {leaf: to_numpy(array) for leaf, array in leaves(gradient)}
        call.differentiable = True
        self.events.append(("cotangent", call))


def tap(name: str, value: Any) -> Any:
    """Record an intermediate value of a function under `name`; returns the value.

        scores = parity.tap("scores", q @ k.T)

    Outside a comparison it does nothing. In PyTorch the gradient of the value is recorded too; in
    NumPy pass it to `tap_gradient` in the vjp.
    """
    trace = _ACTIVE.get()
    return value if trace is None else trace.tap(name, value)


def tap_gradient(name: str, gradient: Any) -> Any:
    """Record the gradient of the value that `tap` recorded under `name`; returns the gradient."""
    trace = _ACTIVE.get()
    if trace is not None:
        trace.tap_gradient(name, gradient)
    return gradient


@contextlib.contextmanager
def listening(listener: Any) -> Iterator[None]:
    """Send the values of taps to `listener.tap` and `listener.tap_gradient` inside the block."""
    token = _ACTIVE.set(listener)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def add_gradient(store: Arrays, name: str, gradient: Any) -> None:
    """Add a gradient to the stored one. None, the number 0 and empty arrays mean no gradient."""
    if gradient is None or (not is_array(gradient) and gradient == 0):
        return
    array = to_numpy(gradient)
    if array.size:
        store[name] = store[name] + array if name in store else array


def bound_arguments(
    function: Any, args: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[Any, ...], dict[str, Any]]:
    """The names of a function's parameters, its positional arguments, and its keyword-only ones."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **keywords)
    except (TypeError, ValueError):  # a builtin, or a call that will say itself what is wrong
        return (), args, keywords
    return tuple(signature.parameters), bound.args, bound.kwargs


def public_methods(module: Any, framework: type) -> set[str]:
    """Public functions of a module's class that are not its framework's, and `forward`."""
    cls, known = type(module), set(dir(framework))
    names = [m for m in dir(cls) if not m.startswith("_") and m not in known]
    methods = {m for m in names if inspect.isfunction(getattr(cls, m, None))}
    own_forward = getattr(cls, "forward", None) is not getattr(framework, "forward", None)
    if own_forward or callable(vars(module).get("forward")):
        methods.add("forward")
    return methods


def _copies(value: Any) -> Any:
    return map_arrays(lambda a: a.detach().clone() if hasattr(a, "detach") else np.array(a), value)


def _unusual_dtype(array: Any) -> str:
    """The dtype of a number or of a tensor that NumPy lacks, "" for any other."""
    if not is_array(array):
        return "number"
    name = str(array.dtype).removeprefix("torch.")
    return name if "bfloat" in name or "float8" in name else ""
