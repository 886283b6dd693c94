"""Tell an inherited error from a new one: feed the left panel's own inputs to the right panel.

A tensor that disagrees may be wrong itself or may only be computed from something wrong. If the
right panel, given what the left panel's call was given, gives what the left panel's call gave,
the error was inherited; if not, it is new there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.arrays import leaves, to_numpy, to_tensors
from diptych.parity.report import compare_arrays
from diptych.parity.trace import Arrays, Call, RightTrace, Trace

_BACKWARD = ("input gradient", "output gradient")


class Origins:
    """Asked about failing tensors in the order of computation; remembers what explains the later.

    The right model's gradients and buffers are left as they were. `state` is what it began with.
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
        self._failed: list[tuple[Call, str]] = []

    def of(self, bound: float, call: Call, kind: str, leaf: str) -> str:
        """ "new" or "inherited". Where the weights differ already, all else is inherited."""
        if not self.same_weights:
            return "inherited"
        explained = self._explained(call, kind)
        inherited = explained or self._replay_agrees(bound, call, kind, leaf)
        if explained or not inherited:  # else it came in from outside, and explains nothing
            self._failed.append((call, kind))
        return "inherited" if inherited else "new"

    def _explained(self, call: Call, kind: str) -> bool:
        """Whether a tensor inside this call failed before; for a cotangent, inside its caller."""
        if kind == "output gradient":
            assert call.parent is not None
            return any(c.inside(call.parent) for c, what in self._failed if what in _BACKWARD)
        same = ("output",) if kind in ("output", "buffer") else _BACKWARD
        return any(c.inside(call) for c, what in self._failed if what in same)

    def _replay_agrees(self, bound: float, call: Call, kind: str, leaf: str) -> bool:
        if kind == "parameter gradient":
            own = dict(self.left.model.named_parameters())[leaf].grad
            calls = [c for c in self.left.calls.values() if c.module == call.module]
            name = leaf.rpartition(".")[2]
            shares = [self._replay(c)[1].get(name, np.zeros_like(own)) for c in calls]
            return compare_arrays(leaf, kind, own, np.sum(shares, axis=0), bound).ok
        if kind == "buffer":
            kept = dict(self.left.model.named_buffers())[leaf].data
            return compare_arrays(leaf, kind, kept, self._replayed_buffer(call, leaf), bound).ok
        if kind == "output gradient":
            ours, theirs = call.output_grads, self._replayed_cotangents(call)
        else:
            again = _same_unit(self._replay(call)[0], call)[0]
            pair = (call.outputs, again.outputs), (call.input_grads, again.input_grads)
            ours, theirs = pair[kind == "input gradient"]
        return compare_arrays(leaf, kind, ours.get(leaf), theirs.get(leaf), bound).ok

    def _replayed_cotangents(self, call: Call) -> Arrays:
        """The caller hands a call its cotangent: replay the caller, and look at the call there."""
        assert call.parent is not None
        siblings = [c for c in _same_unit(self.left, call) if c.inside(call.parent)]
        twins = _same_unit(self._replay(call.parent)[0], call)
        same = siblings.index(call)
        return twins[same].output_grads if same < len(twins) else {}

    @torch.no_grad()
    def _replayed_buffer(self, call: Call, name: str) -> np.ndarray:
        """What the right panel makes of a buffer in all calls of its module, one after another."""
        module = self.right.get_submodule(call.module)
        with _buffers_restored(self.right) as buffers:
            for leaf, buffer in buffers.items():
                if leaf in self.state:
                    buffer.copy_(torch.from_numpy(self.state[leaf]))
            for c in (c for c in self.left.calls.values() if c.module == call.module):
                getattr(module, c.method)(*to_tensors(c.arguments, self.device, track=False))
            return to_numpy(buffers[name])

    def _replay(self, call: Call) -> tuple[Trace, Arrays]:
        """Trace of one call on the right, and the gradients of its module's own parameters."""
        module = self.right.get_submodule(call.module)
        kept = {name: p.grad for name, p in self.right.named_parameters()}
        self.right.zero_grad(set_to_none=True)
        try:
            with _buffers_restored(self.right), RightTrace(self.right, self.methods) as trace:
                result = getattr(module, call.method)(*to_tensors(call.arguments, self.device))
                self._differentiate(call, result)
            own = module.named_parameters(recurse=False)
            grads = {name: to_numpy(p.grad) for name, p in own if p.grad is not None}
        finally:
            for name, parameter in self.right.named_parameters():
                parameter.grad = kept[name]
        return trace, grads

    def _differentiate(self, call: Call, result: Any) -> None:
        if call.parent is None and hasattr(result, "total"):
            result.total.backward()
            return
        result = dict(leaves(result))
        pairs = [(result[n], g) for n, g in call.output_grads.items() if result[n].requires_grad]
        if pairs:
            torch.autograd.backward(
                [tensor for tensor, _ in pairs],
                [torch.from_numpy(g.copy()).to(tensor) for tensor, g in pairs],
            )


@contextlib.contextmanager
def _buffers_restored(model: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """The model's buffers by name; what happens to them within is undone."""
    buffers = dict(model.named_buffers())
    kept = {name: buffer.clone() for name, buffer in buffers.items()}
    try:
        yield buffers
    finally:
        with torch.no_grad():
            for name, buffer in buffers.items():
                buffer.copy_(kept[name])


def _same_unit(trace: Trace, call: Call) -> list[Call]:
    """The calls of one method of one module, in order."""
    return [c for c in trace.calls.values() if (c.module, c.method) == (call.module, call.method)]
