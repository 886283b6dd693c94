"""Feed the left panel's own inputs to the right panel, one call at a time.

A tensor that disagrees may be wrong itself or may only be computed from something wrong. If the
right panel, given what the left panel's call was given, gives what the left panel's call gave,
the error was inherited; if not, it is new there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.parity.report import compare_arrays
from diptych.parity.trace import Arrays, Call, RightTrace, Trace
from diptych.parity.tree import is_array, is_float, leaves, map_arrays, to_numpy


class Replay:
    """Runs single calls of the right panel; the model's gradients are left as they were."""

    def __init__(self, right: nn.Module, methods: set[tuple[str, str]], device: Any) -> None:
        self.right, self.methods, self.device = right, methods, device

    def agrees(self, left: Trace, call: Call, kind: str, name: str, bound: float) -> bool:
        """Whether this call, replayed with the left panel's inputs, gives the left's tensor."""
        if kind == "parameter gradient":
            leaf = name.rpartition(".")[2]
            calls = [c for c in left.calls.values() if c.module == call.module]
            own = dict(left.model.named_parameters())[name].grad
            found = sum((self._run(c)[1].get(leaf, np.zeros_like(own)) for c in calls), 0 * own)
            return compare_arrays(name, kind, own, found, bound).ok
        ours = {
            "output": call.outputs,
            "output gradient": call.output_grads,
            "input gradient": call.input_grads,
        }[kind]
        theirs = self._replayed(left, call, kind)
        return compare_arrays(name, kind, ours.get(name), theirs.get(name), bound).ok

    def _replayed(self, left: Trace, call: Call, kind: str) -> Arrays:
        if kind != "output gradient":
            again = _same_unit(self._run(call)[0], call)[0]
            return again.outputs if kind == "output" else again.input_grads
        # who hands a call its cotangent is its caller: replay that, and look at the same call in it
        assert call.parent is not None
        siblings = [c for c in _same_unit(left, call) if c.inside(call.parent)]
        twins = _same_unit(self._run(call.parent)[0], call)
        same = siblings.index(call)
        return twins[same].output_grads if same < len(twins) else {}

    def _run(self, call: Call) -> tuple[Trace, Arrays]:
        """Trace of one replayed call, and the gradients of its module's own parameters."""
        module = self.right.get_submodule(call.module)
        kept = {name: p.grad for name, p in self.right.named_parameters()}
        self.right.zero_grad(set_to_none=True)
        try:
            with RightTrace(self.right, self.methods) as trace:
                first = next(iter(leaves(call.arguments)), ("", np.zeros(0)))[1]
                dtype = first.dtype if is_float(first) else np.dtype(np.float64)
                result = getattr(module, call.method)(*self.tensors(call.arguments, dtype))
                self._differentiate(call, result)
            grads = {
                name: to_numpy(p.grad)
                for name, p in module.named_parameters(recurse=False)
                if p.grad is not None
            }
        finally:
            for name, parameter in self.right.named_parameters():
                parameter.grad = kept[name]
        return trace, grads

    def _differentiate(self, call: Call, result: Any) -> None:
        if call.parent is None and hasattr(result, "total"):
            result.total.backward()
            return
        found = dict(leaves(result))
        pairs = [(found[n], g) for n, g in call.output_grads.items() if found[n].requires_grad]
        if pairs:
            torch.autograd.backward(
                [tensor for tensor, _ in pairs],
                [torch.from_numpy(g.copy()).to(tensor) for tensor, g in pairs],
            )

    def tensors(self, value: Any, dtype: np.dtype) -> Any:
        """`value` with every array as a tensor on the device; floats of `dtype`, and tracked."""

        def convert(array: Any) -> torch.Tensor:
            assert is_array(array)
            plain = to_numpy(array)
            if not is_float(plain):
                return torch.from_numpy(plain).to(self.device)
            return torch.from_numpy(plain.astype(dtype)).to(self.device).requires_grad_()

        return map_arrays(convert, value)


def _same_unit(trace: Trace, call: Call) -> list[Call]:
    """The calls of one method of one module, in order."""
    return [c for c in trace.calls.values() if (c.module, c.method) == (call.module, call.method)]
