"""Run a pair on one batch and one noise, and compare what the two panels computed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.arrays import cast, leaves, map_arrays, to_numpy, to_tensors
from diptych.parity.bounds import (
    PERTURBATIONS,
    UNDETERMINED,
    check_precision,
    condition,
    perturb,
    rounding_bound,
    roundings,
)
from diptych.parity.items import Item, compare_item
from diptych.parity.origins import Origins
from diptych.parity.report import Report
from diptych.parity.rows import ROOT_CAUSE, compare_named, masks_equal, normwise
from diptych.parity.trace import Arrays, Call, LeftTrace, Perturb, RightTrace, Trace, shared_methods
from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.nn.module import Module

COTANGENTS = Key(0).fold_in("cotangents")
PERTURBATION_KEY = Key(0).fold_in("nudges")  # another stream would move the measured bounds


class Comparison:
    """Runs both panels, and the left one in float64 as reference and for the condition numbers.

    In float64 on the CPU the two panels are compared with each other. In float32 or on CUDA
    (`arbitrated`) each is compared with the left panel in float64.
    """

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
        self.reference = left.astype(np.float64)
        self.perturbed_models: list[Module] = []
        self.reference_trace = self._run_left(self.reference)
        self.perturbed_models = [left.astype(np.float64) for _ in range(PERTURBATIONS)]
        self.perturbed_traces = [self._run_left(model) for model in self.perturbed_models]
        self._left_models = left, self.reference, *self.perturbed_models
        self.trace = self._run_left(left)
        # methods without a vjp are not compared
        self.methods = {(call.module, call.method) for call in self.trace.calls.values()}
        self.right_trace = self._run_right()

    def report(self, name: str) -> Report:
        """Compare every tensor: parameters first, then in the left panel's order of computation."""
        rows = compare_named(*self.states, "parameter", 0.0)
        rows = [row if row.ok else replace(row, origin=ROOT_CAUSE) for row in rows]
        same_weights = all(row.ok for row in rows)
        origins = Origins(
            self.trace, self.right, self.methods, self.device, same_weights, self.states[1]
        )
        for item in self._items():
            row = compare_item(item, self.dtype, arbitrated=self.arbitrated)
            if not row.ok and not row.origin:
                call = item.call
                origin = ROOT_CAUSE
                if call:
                    origin = origins.classify(row.bound, call, item.kind, item.leaf)
                row = replace(row, origin=origin)
            rows.append(row)
        return Report(name, str(self.dtype), str(self.device), tuple(rows), masks_equal(rows))

    def _run_left(self, model: Module, perturb: Perturb | None = None) -> Trace:
        inputs = self.inputs
        if model is not self.left:
            inputs = map_arrays(lambda a: cast(a, np.dtype(np.float64)), inputs)
        if any(model is twin for twin in self.perturbed_models):
            inputs = self._perturb(model, inputs)
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

    def _perturb(self, model: Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Perturb every weight of the model in place, and return the inputs with perturbed noise.

        The batch of a loss is not perturbed, because it may not leave its range.
        """
        key = PERTURBATION_KEY.fold_in(
            next(i for i, m in enumerate(self.perturbed_models) if m is model)
        )

        for name, parameter in model.named_parameters():
            parameter.data[...] = perturb(key.fold_in(name), parameter.data)
        fixed = len(inputs) - 1 if self.root == "loss" else 0
        noise = key.fold_in("noise")
        return (*inputs[:fixed], *map_arrays(lambda a: perturb(noise, a), inputs[fixed:]))

    @functools.cached_property
    def _perturbed_backward(self) -> dict[str, np.ndarray]:
        """Gradients after a perturbation of all cotangents instead of weights and noise.

        Some sums are exactly 0 for all weights and noises, such as the gradient of a bias before a
        batch normalisation; only this perturbation shows the size of their summands.
        """
        model, key = self.left.astype(np.float64), PERTURBATION_KEY.fold_in("cotangents")
        self._run_left(model, lambda name, array: perturb(key.fold_in(name), array))
        return model.gradients()

    def _accumulates(self, backward: Callable[[], Any]) -> dict[str, bool]:
        """True for each gradient that a second backward pass doubles: a vjp must add to it."""
        once = {name: grad.copy() for name, grad in self.left.gradients().items()}
        backward()
        twice = self.left.gradients()
        bound = rounding_bound(self.dtype, 4)
        doubled = {name: normwise(twice[name], 2 * grad) <= bound for name, grad in once.items()}
        for name, parameter in self.left.named_parameters():
            parameter.grad[...] = once[name]
        return doubled

    def _run_right(self) -> Trace:
        # a layer's inputs need gradients, the batch of a loss does not
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
        """Draw one random cotangent for each output; arrays of ones would hide a transpose."""
        return tuple(
            random.normal(COTANGENTS.fold_in(i), tuple(array.shape), dtype=self.dtype)
            for i, (_, array) in enumerate(leaves(result))
        )

    def _items(self) -> Iterator[Item]:
        """Every tensor besides parameters, in the left panel's order of computation."""
        modules = dict(self.left.named_modules())
        parameters = self._by_last_call("vjp", self.left.named_parameters())
        buffers = self._by_last_call("forward", self.left.named_buffers())
        total = 0  # roundings up to here
        for phase, call in self.trace.events:
            if phase != "cotangent":
                total += roundings(call, modules[call.module], phase)
            # the cotangent of the root method is drawn here, not computed
            if phase != "cotangent" or call.parent is not None:
                yield from self._items_of(call, *_ARRAYS[phase], total)
            if phase == "forward":
                for name in buffers.pop(call.name, []):
                    yield self._buffer(name, call, total)
            if phase == "vjp":
                for name in parameters.pop(call.name, []):
                    yield self._gradient(name, call, total)
        for name in (name for names in buffers.values() for name in names):
            yield self._buffer(name, None, total)
        for name in (name for names in parameters.values() for name in names):
            yield self._gradient(name, None, total)
        for name in self.right_trace.calls.keys() - self.trace.calls.keys():
            extra = next(iter(self.right_trace.calls[name].outputs.values()))
            yield Item(name, "output", None, "", None, extra, None, 1.0, total)

    def _items_of(
        self, call: Call, kind: str, arrays_of: Callable[[Call], Arrays], total: int
    ) -> Iterator[Item]:
        """The arrays of one kind in one call."""
        traces = (self.trace, self.right_trace, self.reference_trace, *self.perturbed_traces)
        calls = [trace.calls.get(call.name) for trace in traces]
        if kind != "output" and calls[1] and not calls[1].differentiable:
            return
        runs = [arrays_of(twin) if twin else {} for twin in calls]
        for leaf in runs[0] | runs[1]:
            left, right, reference, *perturbed = (arrays.get(leaf) for arrays in runs)
            if kind == "input gradient" and calls[1] and _is_constant(leaf, left, right, calls[1]):
                continue
            kappa = condition(reference, perturbed)
            title = call.title(kind, leaf)
            yield Item(title, kind, call, leaf, left, right, reference, kappa, total)

    def _gradient(self, name: str, call: Call | None, total: int) -> Item:
        """The gradient of one parameter."""
        parameter = dict(self.right.named_parameters()).get(name)
        right = None if parameter is None or parameter.grad is None else to_numpy(parameter.grad)
        left, reference, *perturbed = (model.gradients()[name] for model in self._left_models)
        kappa = condition(reference, perturbed)
        if kappa > UNDETERMINED:
            kappa = max(kappa, condition(reference, [self._perturbed_backward[name]]))
        adds = self.accumulated[name]
        kind = "parameter gradient"
        return Item(name, kind, call, name, left, right, reference, kappa, total, adds)

    def _buffer(self, name: str, call: Call | None, total: int) -> Item:
        """The value of one buffer after the run; its initial value is among the parameters."""
        buffer = dict(self.right.named_buffers()).get(name)
        right = None if buffer is None else to_numpy(buffer)
        left, reference, *perturbed = (
            dict(model.named_buffers())[name].data for model in self._left_models
        )
        kappa = condition(reference, perturbed)
        return Item(name, "buffer", call, name, left, right, reference, kappa, total)

    def _by_last_call(self, phase: str, named: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
        """Group names by the last call of their module in a phase.

        That call is the last to update a buffer, or the one whose vjp is the last to add to a
        gradient, so the value is final after it.
        """
        last = {call.module: call.name for event, call in self.trace.events if event == phase}
        groups: dict[str, list[str]] = {}
        for name, _ in named:
            groups.setdefault(last.get(name.rpartition(".")[0], ""), []).append(name)
        return groups


def _is_constant(leaf: str, left: Any, right: Any, call: Call) -> bool:
    """True for an input without gradient: data, noise, or a use whose gradient is exactly 0."""
    return leaf not in call.variables or (left is None and right is not None and not right.any())


_ARRAYS: dict[str, tuple[str, Callable[[Call], Arrays]]] = {
    "forward": ("output", lambda call: call.outputs),
    "cotangent": ("output gradient", lambda call: call.output_grads),
    "vjp": ("input gradient", lambda call: call.input_grads),
}
