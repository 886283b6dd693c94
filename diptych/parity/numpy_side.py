"""A NumPy module as a side of a comparison."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from diptych.arrays import is_float, items, leaves, map_arrays
from diptych.parity.bounds import rounding_bound
from diptych.parity.errors import normwise
from diptych.parity.numpy_trace import NumpyTrace, has_vjp
from diptych.parity.run import Run
from diptych.parity.sides import (
    Control,
    Plan,
    Side,
    fail_in,
    outputs_of,
    strange_outputs,
)
from diptych.parity.trace import Perturb, public_methods
from numpy_ref.nn.module import Module


class NumpySide(Side):
    """A `numpy_ref` Module, whose gradients its vjps add to `parameter.grad`."""

    model: Module

    def __init__(self, model: Module, label: str) -> None:
        super().__init__(model, label)
        self.modules = dict(model.named_modules())
        self.state = model.state_dict()
        self.without_gradients = f"the {label} has no vjp"
        self.perturb: Perturb | None = None

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
        with NumpyTrace(self.modules, plan.methods, plan.names, self.perturb) as trace:
            try:
                value, vjp = self._forward(plan)
                if vjp is not None:
                    vjp(*_vjp_arguments(value, vjp, plan))
            except Exception as error:
                fail_in(trace, error)
                raise
        run = Run(plan.root, trace.calls, trace.events, {}, differentiated=vjp is not None)
        run.outputs, run.helpers = outputs_of(value), frozenset(trace.helpers)
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
        return Control(outputs_of(value), gradients, strange_outputs(value))

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

    def change_parameters(self, function: Callable[[str, np.ndarray], np.ndarray]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.data[...] = function(name, parameter.data)

    def _forward(self, plan: Plan) -> tuple[Any, Any]:
        inputs = map_arrays(np.array, plan.inputs)
        method = self.model if plan.root == "forward" else getattr(self.model, plan.root)
        result = method(*inputs, **plan.kwargs)
        return result if has_vjp(result) else (result, None)

    def restore(self) -> None:
        for name, buffer in self.model.named_buffers():
            buffer.data[...] = self.state[name]

    def twin(self) -> Self | None:
        twin = self.model.astype(np.float64)
        twin.load_state_dict(self.state)
        return type(self)(twin, self.label)


def _vjp_arguments(value: Any, vjp: Any, plan: Plan) -> tuple[Any, ...]:
    """The cotangents in the form that the vjp takes: none, one for each output, or a mapping."""
    if plan.root == "loss":
        return () if _accepts(vjp, 0) else (1.0,)
    outputs = dict(leaves(value, numbers=True))
    cotangents = plan.cotangents(outputs_of(value))
    if isinstance(value, Mapping) and _accepts(vjp, 1) and not _accepts(vjp, len(outputs) + 1):
        return (_rebuilt(value, iter(cotangents.values())),)
    floats = [n for n, array in outputs.items() if is_float(array) or isinstance(array, float)]
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
