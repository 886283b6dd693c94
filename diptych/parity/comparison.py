"""One run of a pair on one batch and one noise, and the rows that come of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from diptych.arrays import cast, is_float, leaves, map_arrays, to_numpy, to_tensors
from diptych.parity.bounds import (
    AMPLIFICATION,
    FLOAT64_BOUND,
    PERTURBATIONS,
    UNDETERMINED,
    check_precision,
    condition,
    perturbed,
    rounding_bound,
    roundings,
)
from diptych.parity.origins import Origins
from diptych.parity.report import (
    Report,
    Row,
    compare_arrays,
    compare_named,
    masks_equal,
    normwise,
    worst_of,
)
from diptych.parity.trace import Arrays, Call, LeftTrace, Perturb, RightTrace, Trace, shared_methods
from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.nn.module import Module

COTANGENTS = Key(0).fold_in("cotangents")
PERTURBATION_KEY = Key(0).fold_in("nudges")


class Item(NamedTuple):
    """One tensor to compare: what it is, and what each run has for it."""

    title: str
    kind: str
    call: Call | None
    leaf: str
    left: np.ndarray | None
    right: np.ndarray | None
    reference: np.ndarray | None
    condition: float
    roundings: int


class Comparison:
    """Runs the left panel and the right one and, where an arbiter is due, the left in float64."""

    def __init__(
        self, left: Module, right: nn.Module, batch: Any, noise: Any, dtype: np.dtype
    ) -> None:
        check_precision(right, dtype)
        first = next(right.parameters(), None)
        self.device = torch.device("cpu") if first is None else first.device
        self.dtype, self.left, self.right = dtype, left, right
        self.states = left.state_dict(), map_arrays(to_numpy, dict(right.state_dict()))
        self.methods = shared_methods(left, right)
        self.root = "loss" if ("", "loss") in self.methods else "forward"
        if ("", self.root) not in self.methods:
            raise ValueError(
                f"pair: {type(left).__name__} and {type(right).__name__} share neither "
                "`loss` nor `forward`, take one of them on both"
            )
        inputs = batch if isinstance(batch, tuple) and not hasattr(batch, "_fields") else (batch,)
        inputs = (*inputs, noise) if self.root == "loss" else inputs
        self.inputs = map_arrays(lambda array: cast(to_numpy(array), dtype), inputs)

        self.arbitrated = dtype != np.float64 or self.device.type != "cpu"
        self.reference, self.perturbed = left.astype(np.float64), list[Module]()
        self.reference_trace = self._run_left(self.reference)
        self.perturbed = [left.astype(np.float64) for _ in range(PERTURBATIONS)]
        self.perturbed_traces = [self._run_left(model) for model in self.perturbed]
        self._lefts = left, self.reference, *self.perturbed
        self.trace = self._run_left(left)
        # what the left traced is what there is to compare; its value-only methods are not
        self.methods = {(call.module, call.method) for call in self.trace.calls.values()}
        self.right_trace = self._run_right()

    def report(self, name: str) -> Report:
        """Every tensor, parameters first, then in the order in which the left panel computed."""
        rows = compare_named(*self.states, "parameter", 0.0)
        rows = [row if row.ok else replace(row, origin="new") for row in rows]
        same_weights = all(row.ok for row in rows)
        origins = Origins(
            self.trace, self.right, self.methods, self.device, same_weights, self.states[1]
        )
        for item in self._items():
            row = self._row(item)
            if not row.ok and not row.origin:
                call = item.call
                origin = origins.of(row.bound, call, item.kind, item.leaf) if call else "new"
                row = replace(row, origin=origin)
            rows.append(row)
        return Report(name, str(self.dtype), str(self.device), tuple(rows), masks_equal(rows))

    def _run_left(self, model: Module, perturb: Perturb | None = None) -> Trace:
        inputs = self.inputs
        if model is not self.left:
            inputs = map_arrays(lambda a: cast(a, np.dtype(np.float64)), inputs)
        if any(model is twin for twin in self.perturbed):
            inputs = self._nudge(model, inputs)
        model.zero_grad()
        with LeftTrace(model, self.methods, perturb) as trace:
            result, vjp = getattr(model, self.root)(*inputs)
            cotangents = () if self.root == "loss" else self._cotangents(result)
            if model is not self.left:
                cotangents = tuple(c.astype(np.float64) for c in cotangents)
            vjp(*cotangents)
        if model is self.left:
            self.accumulated = self._accumulates(lambda: vjp(*cotangents))
        return trace

    def _nudge(self, model: Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Change every weight and noise by a random NUDGE of itself; a batch may not leave its
        range, so it is changed only where there is no loss to refuse it."""
        key = PERTURBATION_KEY.fold_in(next(i for i, m in enumerate(self.perturbed) if m is model))

        for name, parameter in model.named_parameters():
            parameter.data[...] = perturbed(key.fold_in(name), parameter.data)
        fixed = len(inputs) - 1 if self.root == "loss" else 0
        noise = key.fold_in("noise")
        moved = (map_arrays(lambda a: perturbed(noise, a), value) for value in inputs[fixed:])
        return (*inputs[:fixed], *moved)

    @functools.cached_property
    def _perturbed_backward(self) -> dict[str, np.ndarray]:
        """The gradients where not weights and noise but all cotangents are nudged.

        However weights and noise move, a sum stays 0 that is 0 for them all: the gradient of a bias
        before a batch normalisation. This tells how large its summands are.
        """
        model, key = self.left.astype(np.float64), PERTURBATION_KEY.fold_in("cotangents")
        self._run_left(model, lambda name, array: perturbed(key.fold_in(name), array))
        return model.gradients()

    def _accumulates(self, again: Callable[[], Any]) -> dict[str, bool]:
        """Whether a second backward pass doubles each gradient: a vjp adds, it never overwrites."""
        once = {name: grad.copy() for name, grad in self.left.gradients().items()}
        again()
        twice = self.left.gradients()
        bound = rounding_bound(self.dtype, 4)
        result = {name: normwise(twice[name], 2 * grad) <= bound for name, grad in once.items()}
        for name, parameter in self.left.named_parameters():
            parameter.grad[...] = once[name]
        return result

    def _run_right(self) -> Trace:
        # a batch is data, and its gradient nobody's business; a layer's input is not
        inputs = to_tensors(self.inputs, self.device, track=self.root == "forward")
        self.right.zero_grad(set_to_none=True)
        with RightTrace(self.right, self.methods) as trace:
            result = getattr(self.right, self.root)(*inputs)
            if self.root == "loss":
                result.total.backward()
            else:
                result = [tensor for _, tensor in leaves(result)]
                cotangents = to_tensors(self._cotangents(result), self.device, track=False)
                torch.autograd.backward(result, list(cotangents))
        return trace

    def _cotangents(self, result: Any) -> tuple[np.ndarray, ...]:
        """One random array for each output: all-ones would hide a transpose."""
        return tuple(
            random.normal(COTANGENTS.fold_in(i), tuple(array.shape), dtype=self.dtype)
            for i, (_, array) in enumerate(leaves(result))
        )

    def _items(self) -> Iterator[Item]:
        modules = dict(self.left.named_modules())
        parameters = self._by_last_call("vjp", self.left.named_parameters())
        buffers = self._by_last_call("forward", self.left.named_buffers())
        done = 0
        for phase, call in self.trace.events:
            if phase != "cotangent":
                done += roundings(call, modules[call.module], phase)
            # the cotangent of the root is the comparison's own
            if phase != "cotangent" or call.parent is not None:
                yield from self._items_of(call, *_ARRAYS[phase], done)
            if phase == "forward":
                for name in buffers.pop(call.name, []):
                    yield self._buffer(name, call, done)
            if phase == "vjp":
                for name in parameters.pop(call.name, []):
                    yield self._gradient(name, call, done)
        for name in (name for names in buffers.values() for name in names):
            yield self._buffer(name, None, done)
        for name in (name for names in parameters.values() for name in names):
            yield self._gradient(name, None, done)
        for name in self.right_trace.calls.keys() - self.trace.calls.keys():
            extra = next(iter(self.right_trace.calls[name].outputs.values()))
            yield Item(name, "output", None, "", None, extra, None, 1.0, done)

    def _items_of(
        self, call: Call, kind: str, pick: Callable[[Call], Arrays], done: int
    ) -> Iterator[Item]:
        traces = (self.trace, self.right_trace, self.reference_trace, *self.perturbed_traces)
        calls = [trace.calls.get(call.name) for trace in traces]
        if kind != "output" and calls[1] and not calls[1].followed:
            return
        result = [pick(twin) if twin else {} for twin in calls]
        for leaf in result[0] | result[1]:
            ours, theirs, reference, *moved = (arrays.get(leaf) for arrays in result)
            if kind == "input gradient" and calls[1] and _constant(leaf, ours, theirs, calls[1]):
                continue
            kappa = condition(reference, moved)
            yield Item(
                call.title(kind, leaf), kind, call, leaf, ours, theirs, reference, kappa, done
            )

    def _gradient(self, name: str, call: Call | None, done: int) -> Item:
        right = dict(self.right.named_parameters()).get(name)
        theirs = None if right is None or right.grad is None else to_numpy(right.grad)
        ours, reference, *moved = (model.gradients()[name] for model in self._lefts)
        kappa = condition(reference, moved)
        if kappa > UNDETERMINED:
            kappa = max(kappa, condition(reference, [self._perturbed_backward[name]]))
        return Item(name, "parameter gradient", call, name, ours, theirs, reference, kappa, done)

    def _buffer(self, name: str, call: Call | None, done: int) -> Item:
        """A buffer as the run leaves it; as it found it, it is among the parameters."""
        theirs = dict(self.right.named_buffers()).get(name)
        right = None if theirs is None else to_numpy(theirs)
        ours, reference, *moved = (dict(model.named_buffers())[name].data for model in self._lefts)
        kappa = condition(reference, moved)
        return Item(name, "buffer", call, name, ours, right, reference, kappa, done)

    def _by_last_call(self, phase: str, named: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
        """Names under the last call of their module: the last to change a buffer, or the one whose
        vjp is the last to add to a gradient."""
        last = {call.module: call.name for when, call in self.trace.events if when == phase}
        result: dict[str, list[str]] = {}
        for name, _ in named:
            result.setdefault(last.get(name.rpartition(".")[0], ""), []).append(name)
        return result

    def _row(self, item: Item) -> Row:
        if item.kind == "parameter gradient" and item.right is None:
            row = compare_arrays(item.title, item.kind, item.left, None, FLOAT64_BOUND)
            return replace(row, note="unused: no gradient reached it on the right")
        if item.kind == "parameter gradient" and not self.accumulated[item.title]:
            row = compare_arrays(item.title, item.kind, item.left, item.right, FLOAT64_BOUND)
            note = "overwritten on the left: a second backward pass does not double it"
            return replace(row, error=math.inf, note=note, origin="new")
        bound = self._bound(item)
        if not self.arbitrated:
            return compare_arrays(item.title, item.kind, item.left, item.right, bound)
        rows = {
            side: compare_arrays(
                item.title, item.kind, result, item.reference, bound, (side, "float64 left")
            )
            for result, side in ((item.left, "left"), (item.right, "right"))
        }
        worst = worst_of(rows.values())
        side = next(side for side, row in rows.items() if row is worst)
        if worst.ok and _dtypes(item.left, item.right) not in ((), (self.dtype,)):
            message = " and ".join(map(str, _dtypes(item.left, item.right)))
            return replace(worst, error=math.inf, note=f"computed in {message}, not {self.dtype}")
        return worst if worst.ok else replace(worst, note=worst.note or f"the {side} panel is off")

    def _bound(self, item: Item) -> float:
        if not self.arbitrated:
            return FLOAT64_BOUND * max(1.0, item.condition / AMPLIFICATION)
        floor = FLOAT64_BOUND if self.dtype == np.float64 else 0.0
        return max(floor, rounding_bound(self.dtype, item.roundings) * item.condition)


def _constant(leaf: str, ours: Any, theirs: Any, twin: Call) -> bool:
    """Whether an input is one that no gradient is due to: data, noise, or a use that is worth 0."""
    return leaf not in twin.tracked or (ours is None and theirs is not None and not theirs.any())


def _dtypes(*arrays: np.ndarray | None) -> tuple[np.dtype, ...]:
    """The float dtypes among them, each once."""
    return tuple({a.dtype: None for a in arrays if a is not None and is_float(a)})


_ARRAYS: dict[str, tuple[str, Callable[[Call], Arrays]]] = {
    "forward": ("output", lambda call: call.outputs),
    "cotangent": ("output gradient", lambda call: call.output_grads),
    "vjp": ("input gradient", lambda call: call.input_grads),
}
