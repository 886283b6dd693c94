"""A NumPy module as a side of a comparison."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from diptych.arrays import is_float, items, leaves, map_arrays
from diptych.parity.measures.bounds import rounding_bound
from diptych.parity.measures.errors import normwise
from diptych.parity.running.numpy_trace import NumpyTrace, has_vjp, named_gradients
from diptych.parity.running.run import Run
from diptych.parity.running.sides import (
    Control,
    Plan,
    Side,
    fail_in,
    outputs_of,
    strange_outputs,
    total_of,
)
from diptych.parity.running.trace import Arrays, add_gradient, public_methods
from numpy_ref.nn.module import Buffer, Module, Parameter


class NumpySide(Side):
    """A `numpy_ref` Module, whose gradients its vjps add to `parameter.grad`."""

    model: Module

    def __init__(self, model: Module, label: str) -> None:
        super().__init__(model, label)
        self.modules = dict(model.named_modules())
        self.state = model.state_dict()
        self.without_gradients = f"the {label} has no vjp"

    @property
    def dtype(self) -> np.dtype | None:
        dtypes = {p.data.dtype for p in self.model.parameters()}
        if len(dtypes) > 1:
            names = sorted(map(str, dtypes))
            raise ValueError(f"{self.label}: parameters of several dtypes {names}, takes one")
        return next(iter(dtypes), None)

    def defines(self, path: str) -> set[str]:
        return public_methods(self.modules[path], Module)

    def describe(self) -> Run:
        groups: defaultdict[int, set[str]] = defaultdict(set)
        for name, parameter in self.model.named_parameters(tied=True):
            groups[id(parameter)].add(name)
        return Run(
            "",
            {},
            [],
            self.state,
            parameters=frozenset(name for group in groups.values() for name in group),
            ties=[frozenset(group) for group in groups.values() if len(group) > 1],
        )

    def _run(self, plan: Plan) -> Run:
        self.restore()
        self.model.zero_grad()
        with NumpyTrace(self.modules, plan.methods, plan.names) as trace:
            try:
                value, vjp = self._forward(plan)
                result = None if vjp is None else vjp(*_vjp_arguments(value, vjp, plan))
            except Exception as error:
                fail_in(trace, error)
                raise
        root = trace.root_call(plan.root, plan.inputs, value)
        run = Run(plan.root, trace.calls, trace.events, {}, differentiated=vjp is not None)
        run.outputs, run.helpers = outputs_of(value), frozenset(trace.helpers)
        if vjp is not None and plan.root == "forward":
            root.input_grads.clear()  # what the caller gets, whatever stands around the method
            for name, gradient in named_gradients(root, result):
                add_gradient(root.input_grads, name, gradient)
        run.changed = self._changed()
        run.gradients = {n: g.copy() for n, g in self.model.gradients().items()}
        run.buffers = {n: b.data.copy() for n, b in self.model.named_buffers()}
        return run

    def _control(self, plan: Plan, run: Run) -> Control:
        """Run again and add to the same gradients: a vjp that adds doubles each of them."""
        self.restore()
        value, vjp = self._forward(plan)
        if vjp is not None:
            vjp(*_vjp_arguments(value, vjp, plan))
        gradients = {n: g.copy() for n, g in self.model.gradients().items()}
        return Control(outputs_of(value), gradients, strange=strange_outputs(value))

    def _gradient_reason(self, run: Run, control: Control) -> str:
        return ""  # the control run adds to the same gradients, see `_adopt`

    def _adopt(self, run: Run, control: Control) -> None:
        bound = rounding_bound(np.dtype(self.dtype or np.float64), 4)
        for name, once in run.gradients.items():
            with np.errstate(all="ignore"):
                if not normwise(control.gradients[name], 2 * once) <= bound:
                    times = np.vdot(once, control.gradients[name]) / np.vdot(once, once)
                    self.accumulation[name] = float(times)
        for name, parameter in self.model.named_parameters():
            parameter.grad[...] = run.gradients[name]
        for name, buffer in self.model.named_buffers():
            buffer.data[...] = run.buffers[name]

    def _changed(self) -> Arrays:
        named = self.model.named_parameters()
        return {n: p.data.copy() for n, p in named if not _equal(p.data, self.state[n])}

    def change_parameters(self, function: Callable[[str, np.ndarray], np.ndarray]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.data[...] = function(name, parameter.data)
            self.state[name] = parameter.data.copy()  # or the next run would restore the first

    def _forward(self, plan: Plan) -> tuple[Any, Any]:
        inputs = map_arrays(np.array, plan.inputs)
        method = self.model if plan.root == "forward" else getattr(self.model, plan.root)
        result = method(*inputs, **plan.kwargs)
        total = total_of(result[0] if has_vjp(result) else result) if plan.root == "loss" else 0.0
        if np.size(total) != 1:
            raise ValueError(f"its total has shape {np.shape(total)}, takes a scalar")
        return result if has_vjp(result) else (result, None)

    def restore(self) -> None:
        values: list[tuple[str, Buffer | Parameter]] = [*self.model.named_buffers()]
        for name, value in [*values, *self.model.named_parameters()]:
            if not _equal(value.data, self.state[name]):
                value.data[...] = self.state[name]

    def twin(self, dtype: np.dtype) -> Self | None:
        twin = self.model.astype(dtype)
        twin.load_state_dict(self.state)
        return type(self)(twin, self.label)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _vjp_arguments(value: Any, vjp: Any, plan: Plan) -> tuple[Any, ...]:
    """The cotangents in the form that the vjp takes: none, one for each output, or a mapping."""
    if plan.root == "loss":
        return () if _accepts(vjp, 0) else (1.0,)
    outputs = dict(leaves(value, numbers=True))
    cotangents = plan.cotangents(outputs_of(value))
    if isinstance(value, Mapping) and _accepts(vjp, 1) and not _accepts(vjp, len(outputs) + 1):
        return (_rebuilt(value, iter(cotangents.values())),)
    floats = [name for name, array in outputs.items() if is_float(array)]
    if _accepts(vjp, len(floats)):
        return tuple(cotangents[name] for name in floats)
    contents = list(items(value) or [])
    if len(contents) != len(outputs) and _accepts(vjp, len(contents)):
        zeros = [cotangents.get(n, np.zeros(np.shape(a))) for n, a in outputs.items()]
        return _rebuilt(tuple(item for _, item in contents), iter(zeros))
    return tuple(cotangents.get(n, np.zeros(np.shape(a))) for n, a in outputs.items())


def _rebuilt(value: Any, arrays: Iterator[np.ndarray]) -> Any:
    """`value` with its arrays replaced, in order."""
    return map_arrays(lambda _: next(arrays), value)


def _accepts(function: Any, count: int) -> bool:
    """True if the function can be called with `count` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True
