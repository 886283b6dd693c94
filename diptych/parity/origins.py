"""Classify a failing tensor as root cause or propagated, by a replay on the right panel.

A tensor that differs may be computed wrongly, or correctly from inputs that already differ. The
replay feeds the left panel's inputs of a call to the right panel: if the right panel then agrees
with the left one, the error was propagated to this tensor; if not, the call is the root cause.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.arrays import leaves, to_numpy, to_tensors
from diptych.parity.rows import PROPAGATED, ROOT_CAUSE, compare_arrays
from diptych.parity.trace import Arrays, Call, RightTrace, Trace

_BACKWARD = ("input gradient", "output gradient")


class Origins:
    """Classifies failing tensors, which must arrive in the order of computation.

    It remembers the failures, because an earlier one inside a call explains a later one of that
    call. The right model's gradients and buffers stay unchanged. `state` is the right model's
    state before the run.
    """

    def __init__(
        self,
        left: Trace,
        right: nn.Module,
        methods: set[tuple[str, str]],
        device: torch.device,
        same_weights: bool,
        state: Mapping[str, np.ndarray],
    ) -> None:
        self.left, self.right, self.methods, self.device = left, right, methods, device
        self.same_weights, self.state = same_weights, state
        self._failures: list[tuple[Call, str]] = []

    def classify(self, bound: float, call: Call, kind: str, leaf: str) -> str:
        """ROOT_CAUSE or PROPAGATED. If the weights differ, everything else is PROPAGATED."""
        if not self.same_weights:
            return PROPAGATED
        has_inner_failure = self._has_inner_failure(call, kind)
        propagated = has_inner_failure or self._replay_agrees(bound, call, kind, leaf)
        if has_inner_failure or not propagated:
            # an error that came in through the inputs explains no other failure
            self._failures.append((call, kind))
        return PROPAGATED if propagated else ROOT_CAUSE

    def _has_inner_failure(self, call: Call, kind: str) -> bool:
        """True if a tensor inside this call failed before; for a cotangent, inside its caller."""
        if kind == "output gradient":
            assert call.parent is not None
            return any(c.inside(call.parent) for c, failed in self._failures if failed in _BACKWARD)
        kinds = ("output",) if kind in ("output", "buffer") else _BACKWARD
        return any(c.inside(call) for c, failed in self._failures if failed in kinds)

    def _replay_agrees(self, bound: float, call: Call, kind: str, leaf: str) -> bool:
        """True if the right panel, run on the left panel's inputs, gives the left's tensor."""
        if kind == "parameter gradient":
            gradient = dict(self.left.model.named_parameters())[leaf].grad
            calls = self._outermost_calls(call.module)
            name = leaf.rpartition(".")[2]
            shares = [self._replay(c)[1].get(name, np.zeros_like(gradient)) for c in calls]
            return compare_arrays(leaf, kind, gradient, np.sum(shares, axis=0), bound).ok
        if kind == "buffer":
            buffer = dict(self.left.model.named_buffers())[leaf].data
            return compare_arrays(leaf, kind, buffer, self._replay_buffer(call, leaf), bound).ok
        if kind == "output gradient":
            left, right = call.output_grads, self._replay_cotangents(call)
        else:
            replay = _calls_of_method(self._replay(call)[0], call)[0]
            arrays = (call.outputs, replay.outputs), (call.input_grads, replay.input_grads)
            left, right = arrays[kind == "input gradient"]
        return compare_arrays(leaf, kind, left.get(leaf), right.get(leaf), bound).ok

    def _replay_cotangents(self, call: Call) -> Arrays:
        """Cotangents of a call in a replay of its caller, which computes them."""
        assert call.parent is not None
        siblings = [c for c in _calls_of_method(self.left, call) if c.inside(call.parent)]
        replays = _calls_of_method(self._replay(call.parent)[0], call)
        position = siblings.index(call)
        return replays[position].output_grads if position < len(replays) else {}

    @torch.no_grad()
    def _replay_buffer(self, call: Call, name: str) -> np.ndarray:
        """A buffer of the right panel after a replay of all calls of its module."""
        module = self.right.get_submodule(call.module)
        with _buffers_restored(self.right) as buffers:
            for leaf, buffer in buffers.items():
                if leaf in self.state:
                    buffer.copy_(torch.from_numpy(self.state[leaf]))
            for c in self._outermost_calls(call.module):
                getattr(module, c.method)(*to_tensors(c.arguments, self.device, track=False))
            return to_numpy(buffers[name])

    def _outermost_calls(self, path: str) -> list[Call]:
        """The calls of a module's methods, without those that its own methods make."""
        calls = [c for c in self.left.calls.values() if c.module == path]
        return [c for c in calls if not any(c.inside(other) for other in calls)]

    def _replay(self, call: Call) -> tuple[Trace, Arrays]:
        """Run one call on the right: its trace, and the gradients of its module's parameters."""
        module = self.right.get_submodule(call.module)
        saved_grads = {name: p.grad for name, p in self.right.named_parameters()}
        self.right.zero_grad(set_to_none=True)
        try:
            with _buffers_restored(self.right), RightTrace(self.right, self.methods) as trace:
                result = getattr(module, call.method)(*to_tensors(call.arguments, self.device))
                self._differentiate(call, result)
            parameters = module.named_parameters(recurse=False)
            grads = {name: to_numpy(p.grad) for name, p in parameters if p.grad is not None}
        finally:
            for name, parameter in self.right.named_parameters():
                parameter.grad = saved_grads[name]
        return trace, grads

    def _differentiate(self, call: Call, result: Any) -> None:
        """Backpropagate the left panel's cotangents of the call, or the total of a loss."""
        if call.parent is None and hasattr(result, "total"):
            result.total.backward()
            return
        outputs = dict(leaves(result))
        pairs = [(outputs[n], g) for n, g in call.output_grads.items() if outputs[n].requires_grad]
        if pairs:
            torch.autograd.backward(
                [tensor for tensor, _ in pairs],
                [torch.from_numpy(g.copy()).to(tensor) for tensor, g in pairs],
            )


@contextlib.contextmanager
def _buffers_restored(model: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Give the model's buffers by name, and undo every change to them at the end."""
    buffers = dict(model.named_buffers())
    copies = {name: buffer.clone() for name, buffer in buffers.items()}
    try:
        yield buffers
    finally:
        with torch.no_grad():
            for name, buffer in buffers.items():
                buffer.copy_(copies[name])


def _calls_of_method(trace: Trace, call: Call) -> list[Call]:
    """All calls of the method that `call` is a call of, in order."""
    return [c for c in trace.calls.values() if (c.module, c.method) == (call.module, call.method)]
