"""Classify a failing tensor as root cause or propagated.

A tensor that differs may be computed wrongly, or correctly from inputs that already differ. The
replay feeds the left side's inputs of a call to the right model: if the right model then agrees
with the left one, the error was propagated to this tensor; if not, the call is the root cause.

Where the right is no torch module, or a call belongs to no module, nothing can be replayed. Then a
tensor is the root cause if what it was computed from agrees on both sides.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.arrays import leaves, map_arrays, to_numpy, to_tensors
from diptych.options.options import Options
from diptych.parity.measures.rows import PROPAGATED, ROOT_CAUSE, compare_arrays
from diptych.parity.running.alignment import Alignment, layout_name, match_leaves
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Side, outputs_of, total_of
from diptych.parity.running.torch_side import TorchSide, input_grads
from diptych.parity.running.torch_trace import TorchTrace, unwrapped
from diptych.parity.running.trace import Arrays, Call, Trace

_BACKWARD = ("input gradient", "output gradient")


class Origins:
    """Classifies failing tensors, which must arrive in the order of computation.

    It remembers the failures, because an earlier one inside a call explains a later one of that
    call. `differing` are the parameters with different values: they explain every failure of the
    modules that hold them. The right model's gradients and buffers stay unchanged.
    """

    def __init__(
        self,
        alignment: Alignment,
        options: Options,
        left: Run,
        right: Run,
        side: Side,
        differing: Sequence[str],
    ) -> None:
        self.alignment, self.options, self.left, self.right = alignment, options, left, right
        self.side = side if isinstance(side, TorchSide) else None
        names = alignment.left_names
        owners = (name.rpartition(".")[0] for name in differing)
        self._differing = {names.get(owner, owner) for owner in owners}
        self._failures: list[tuple[Call, str]] = []

    def classify(self, bound: float, call: Call, kind: str, leaf: str) -> str:
        """ROOT_CAUSE or PROPAGATED."""
        inner = self._has_inner_failure(call, kind)
        propagated = inner or self._explained_by_parameters(call)
        if not propagated:
            replay = self._can_replay(call, kind)
            agrees = self._replay_agrees if replay else self._inputs_differ
            propagated = agrees(bound, call, kind, leaf)
        if inner or not propagated or self._explained_by_parameters(call):
            # an error that came in through the inputs explains no other failure
            self._failures.append((call, kind))
        return PROPAGATED if propagated else ROOT_CAUSE

    def _explained_by_parameters(self, call: Call) -> bool:
        """True if a parameter below the call's module has other values on the right."""
        prefix = f"{call.module}." if call.module else ""
        return any(p == call.module or f"{p}.".startswith(prefix) for p in self._differing)

    def _has_inner_failure(self, call: Call, kind: str) -> bool:
        """True if a tensor inside this call failed before; for a cotangent, inside its caller."""
        if kind == "output gradient":
            assert call.parent is not None
            return any(c.inside(call.parent) for c, failed in self._failures if failed in _BACKWARD)
        kinds = ("output",) if kind in ("output", "buffer") else _BACKWARD
        return any(c.inside(call) for c, failed in self._failures if failed in kinds)

    def _can_replay(self, call: Call, kind: str) -> bool:
        caller = call.parent if kind == "output gradient" else call
        return (
            self.side is not None
            and caller is not None
            and call.method != "tap"
            and caller.method != "tap"
            and caller.module in self.alignment.right_modules
            and call.name in self.right.calls
        )

    # Without a replay

    def _inputs_differ(self, bound: float, call: Call, kind: str, leaf: str) -> bool:
        """True if the tensor was computed from values that differ on the two sides."""
        twin = self.right.calls.get(call.name)
        if twin is None:
            return bool(self._failures)
        if call.method == "tap" or kind == "output gradient":
            kinds = _BACKWARD if kind == "output gradient" else ("output",)
            return any(failed in kinds for _, failed in self._failures)
        sources = [(call.inputs, twin.inputs)]
        if kind in ("input gradient", "parameter gradient"):
            sources.append((call.output_grads, twin.output_grads))
            sources.append((call.outputs, twin.outputs))
        return any(
            not compare_arrays(name, kind, array, right.get(name), bound).ok
            for left, right in sources
            for name, array in left.items()
            if name in right
        )

    # With a replay

    def _replay_agrees(self, bound: float, call: Call, kind: str, leaf: str) -> bool:
        """True if the right model, run on the left's inputs, gives the left's tensor."""
        try:
            left, right = self._replayed(call, kind, leaf)
        except Exception:  # such as an input whose shape differs
            return False
        return compare_arrays(leaf, kind, left, right, bound, infinities="masked").ok

    def _replayed(
        self, call: Call, kind: str, leaf: str
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The left's tensor, and the right model's from the left's inputs."""
        if kind == "parameter gradient":
            gradient = self.left.gradients[leaf]
            calls = self._outermost_calls(call.module)
            shares = [self._replay(c)[1] for c in calls]
            arrays = [self.options.from_right(leaf, share) for share in shares]
            zero = np.zeros_like(gradient)
            return gradient, sum((a for a in arrays if a is not None), zero)
        if kind == "buffer":
            return self.left.buffers[leaf], self._replay_buffer(call, leaf)
        if kind == "output gradient":
            left, right = call.output_grads, self._replay_cotangents(call)
        else:
            replay = _calls_of_method(self._replay(call)[0].calls.values(), call)[0]
            arrays_ = (call.outputs, replay.outputs), (call.input_grads, replay.input_grads)
            left, right = arrays_[kind == "input gradient"]
        twin = self.right.calls[call.name]
        matches = match_leaves(call.outputs, twin.outputs) if kind != "input gradient" else {}
        array = right.get(matches.get(leaf, leaf))
        if array is not None:
            array = self.options.to_left(layout_name(call, kind, leaf), array)
        return left.get(leaf), array

    def _replay_cotangents(self, call: Call) -> Arrays:
        """Cotangents of a call in a replay of its caller, which computes them."""
        assert call.parent is not None
        siblings = [
            c for c in _calls_of_method(self.left.calls.values(), call) if c.inside(call.parent)
        ]
        replays = _calls_of_method(self._replay(call.parent)[0].calls.values(), call)
        position = siblings.index(call)
        return replays[position].output_grads if position < len(replays) else {}

    @torch.no_grad()
    def _replay_buffer(self, call: Call, name: str) -> np.ndarray | None:
        """A buffer of the right model after a replay of all calls of its module."""
        assert self.side is not None
        module = self.alignment.right_modules[call.module]
        with _buffers_restored(self.side):
            self.side.restore()
            for c in self._outermost_calls(call.module):
                _call(module, c.method, self._arguments(c, track=False)[1])
            buffers = {n: to_numpy(b) for n, b in self.side.buffers.items()}
        return self.options.from_right(name, buffers)

    def _outermost_calls(self, path: str) -> list[Call]:
        """The calls of a module's methods, without those that its own methods make."""
        calls = [c for c in self.left.calls.values() if c.module == path and c.method != "tap"]
        return [c for c in calls if not any(c.inside(other) for other in calls)]

    def _arguments(self, call: Call, *, track: bool) -> tuple[Any, Any]:
        """The left's arguments of a call in the right's layout: leaves, and what the call gets."""
        assert self.side is not None
        arguments = []
        for i, argument in enumerate(call.arguments):
            names = iter([name for name, _ in leaves(argument, str(i))])
            arguments.append(
                map_arrays(
                    lambda a, names=names: to_numpy(  # type: ignore[misc]
                        self.options.to_right(layout_name(call, "input gradient", next(names)), a)
                    ),
                    argument,
                )
            )
        tensors = to_tensors(tuple(arguments), torch.device(self.side.device), track=track)
        return tensors, map_arrays(lambda t: t.clone() if t.requires_grad else t, tensors)

    def _replay(self, call: Call) -> tuple[Trace, Arrays]:
        """Run one call on the right: its trace, and the gradients of the right's parameters."""
        assert self.side is not None
        side, modules = self.side, self.side.modules
        saved = {name: p.grad for name, p in side.parameters.items()}
        side.model.zero_grad(set_to_none=True)
        methods, names = self.alignment.right_methods, self.alignment.right_names
        try:
            with _buffers_restored(side), TorchTrace(modules, methods, names) as trace:
                module = self.alignment.right_modules[call.module]
                inputs, arguments = self._arguments(call, track=True)
                result = _call(module, call.method, arguments)
                trace.end_forward()
                self._differentiate(call, result)
            if call.is_root:  # what the caller gets, whatever stands around the method
                root = trace.root_call(call.method, (), result)
                root.outputs, root.input_grads = outputs_of(result), input_grads(inputs)
            grads = {n: to_numpy(p.grad) for n, p in side.parameters.items() if p.grad is not None}
        finally:
            for name, parameter in side.parameters.items():
                parameter.grad = saved[name]
        return trace, grads

    def _differentiate(self, call: Call, result: Any) -> None:
        """Backpropagate the left's cotangents of the call, or the total of a loss."""
        if call.parent is None and self.left.root == "loss":
            total_of(result).sum().backward()
            return
        outputs = dict(leaves(result))
        twin = self.right.calls[call.name]
        matches = match_leaves(call.outputs, twin.outputs)
        pairs = [
            (tensor, self.options.to_right(layout_name(call, "output gradient", name), gradient))
            for name, gradient in call.output_grads.items()
            if (tensor := outputs.get(matches.get(name, name))) is not None and tensor.requires_grad
        ]
        if pairs:
            torch.autograd.backward(
                [tensor for tensor, _ in pairs],
                [torch.from_numpy(np.array(g)).to(tensor) for tensor, g in pairs],
            )


def _call(module: nn.Module, method: str, arguments: tuple[Any, ...]) -> Any:
    inner = module if method == "forward" else getattr(unwrapped(module), method)
    return inner(*arguments)


@contextlib.contextmanager
def _buffers_restored(side: TorchSide) -> Iterator[None]:
    """Undo every change to the model's buffers at the end."""
    copies = [(buffer, buffer.detach().clone()) for buffer in side.model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, saved in copies:
                buffer.copy_(saved)


def _calls_of_method(calls: Any, call: Call) -> list[Call]:
    """All calls of the method that `call` is a call of, in order."""
    return [c for c in calls if (c.module, c.method) == (call.module, call.method)]
