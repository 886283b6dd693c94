"""The values that a program names while it is recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from diptych.arrays import is_array, is_float, leaves, to_numpy
from diptych.parity.running.run import Run
from diptych.parity.running.trace import Call


class Recording:
    """The values that a program names itself while it is recorded.

    `recording[name] = array` records an output; a name that is set again becomes "name#2". NumPy
    arrays, tensors, numbers, and tuples or dicts of them are taken, and anything that NumPy
    converts, such as a jax array. A name may begin with the kind of the value:

        recording["parameter/encoder.weight"]            a weight
        recording["parameter gradient/encoder.weight"]   its gradient
        recording["buffer/norm.running_mean"]            a buffer before the run
        recording["buffer after/norm.running_mean"]      and after it
        recording["output gradient/hidden"]              the gradient of the loss for "hidden"
        recording["input/0"]                             the first argument of the model
    """

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.events: list[Any] = []
        self._arrays: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _KINDS}
        self._inputs: dict[int, Any] = {}
        self._count: dict[str, int] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        kind, slash, rest = name.partition("/")
        if slash and kind in _KINDS:
            self._arrays[kind][rest] = _to_array(name, value)
        elif slash and kind == "output gradient":
            self.tap_gradient(rest, value)
        elif slash and kind == "input":
            if rest != str(len(self._inputs)):
                raise ValueError(f"recording[{name!r}]: takes input/{len(self._inputs)} next")
            self._inputs[len(self._inputs)] = value if is_array(value) else _to_array(name, value)
        else:
            self._output(name, value)

    def tap(self, name: str, value: Any) -> Any:
        """Record an output and, if torch differentiates it, its gradient; return its alias."""
        call = self._output(name, value)
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        alias = value.view_as(value)
        alias.register_hook(lambda gradient: self._gradient(call, gradient))
        return alias

    def tap_gradient(self, name: str, value: Any) -> Any:
        """Record the gradient of the output that was recorded last under `name`."""
        count = self._count.get(name, 0)
        if not count:
            recorded = ", ".join(self.calls) or "none"
            raise ValueError(f"output gradient {name!r}: no such output was recorded ({recorded})")
        self._gradient(self.calls[name if count == 1 else f"{name}#{count}"], value)
        return value

    def _output(self, name: str, value: Any) -> Call:
        arrays = _named_arrays(name, value)  # first, as it may raise
        count = self._count[name] = self._count.get(name, 0) + 1
        unit = name if count == 1 else f"{name}#{count}"
        call = self.calls[unit] = Call(unit, "", "tap", None, differentiable=False)
        call.outputs = arrays
        self.events.append(("forward", call))
        return call

    def _gradient(self, call: Call, value: Any) -> None:
        call.differentiable = True
        if not call.output_grads:
            self.events.append(("cotangent", call))
        for leaf, array in _named_arrays(call.name, value).items():
            previous = call.output_grads.get(leaf)
            call.output_grads[leaf] = array if previous is None else previous + array

    def add_to(self, run: Run) -> Run:
        """Add the values that were named to a run of a model, or to an empty run."""
        run.calls.update(self.calls)
        run.events.extend(self.events)
        run.state |= self._arrays["parameter"] | self._arrays["buffer"]
        run.parameters |= self._arrays["parameter"].keys()
        run.gradients |= self._arrays["parameter gradient"]
        run.buffers |= self._arrays["buffer after"]
        for attribute, kind in (("gradients", "parameter gradient"), ("buffers", "buffer after")):
            for name in getattr(run, attribute).keys() - run.state.keys():
                first = kind.split()[0]
                raise ValueError(
                    f"recording['{kind}/{name}']: takes '{first}/{name}' as well, its first value"
                )
        run.inputs = run.inputs or tuple(self._inputs.values())
        run.differentiated |= bool(run.gradients) or any(
            c.output_grads for c in self.calls.values()
        )
        if not run.root:
            run.root = next((name for name in ("loss", "forward") if name in run.calls), "")
            run.outputs = run.calls[run.root].outputs if run.root else {}
            arrays = [a for call in run.calls.values() for a in call.outputs.values()]
            kinds = {a.dtype for a in arrays if is_float(a)}
            run.dtype = np.result_type(*kinds) if kinds else run.dtype
        return run


_KINDS = ("parameter", "parameter gradient", "buffer", "buffer after")


def _named_arrays(name: str, value: Any) -> dict[str, np.ndarray]:
    """Copies of the arrays in a value, by leaf name."""
    arrays = {leaf: to_numpy(array) for leaf, array in leaves(value)}
    return arrays or {"": _to_array(name, value)}


def _to_array(name: str, value: Any) -> np.ndarray:
    array = to_numpy(value) if is_array(value) else np.array(value)
    if array.dtype.kind not in "biufc":
        kind = type(value).__qualname__
        raise ValueError(f"recording[{name!r}]: got a {kind}, takes an array, a tensor or a number")
    return array
