"""One run of a pair on one batch and one noise, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from diptych import weights
from diptych.parity.bounds import FLOAT64_BOUND, rounding_bound, roundings
from diptych.parity.origins import Origins
from diptych.parity.report import Report, Row, compare_arrays, worst_of
from diptych.parity.trace import Arrays, Call, LeftTrace, RightTrace, Trace, shared_methods
from diptych.parity.tree import is_float, leaves, map_arrays, to_numpy, to_tensors
from model_specs.key import Key
from numpy_ref import random
from numpy_ref.module import Module

COTANGENTS = Key(0).fold_in("cotangents")


class Item(NamedTuple):
    """One tensor to compare: what it is, and what each run has for it."""

    title: str
    kind: str
    call: Call | None
    leaf: str
    left: np.ndarray | None
    right: np.ndarray | None
    judge: np.ndarray | None
    roundings: int


class Comparison:
    """Runs the left panel and the right one and, where an arbiter is due, the left in float64."""

    def __init__(
        self, left: Module, right: nn.Module, batch: Any, noise: Any, dtype: np.dtype
    ) -> None:
        first = next(right.parameters(), None)
        self.device = torch.device("cpu") if first is None else first.device
        self.dtype, self.left, self.right = dtype, left, right
        self.methods = shared_methods(left, right)
        self.root = "loss" if ("", "loss") in self.methods else "forward"
        if ("", self.root) not in self.methods:
            raise ValueError(
                f"pair: {type(left).__name__} and {type(right).__name__} share neither "
                "`loss` nor `forward`, take one of them on both"
            )
        inputs = batch if isinstance(batch, tuple) and not hasattr(batch, "_fields") else (batch,)
        inputs = (*inputs, noise) if self.root == "loss" else inputs
        self.inputs = map_arrays(lambda array: _cast(to_numpy(array), dtype), inputs)

        arbitrated = dtype != np.float64 or self.device.type != "cpu"
        self.judge = left.astype(np.float64) if arbitrated else None
        self.judge_trace = self._run_left(self.judge) if self.judge else None
        self.trace = self._run_left(left)
        # what the left traced is what there is to compare; its value-only methods are not
        self.methods = {(call.module, call.method) for call in self.trace.calls.values()}
        self.right_trace = self._run_right()

    def report(self, name: str) -> Report:
        """Every tensor, parameters first, then in the order in which the left panel computed."""
        own, twin = self.left.state_dict(), weights.to_arrays(self.right.state_dict())
        rows = compare_named(own, twin, "parameter", 0.0)
        rows = [row if row.ok else replace(row, origin="new") for row in rows]
        same_weights = all(row.ok for row in rows)
        origins = Origins(self.trace, self.right, self.methods, self.device, same_weights)
        for item in self._items():
            row = self._row(item)
            if not row.ok:
                call = item.call
                origin = origins.of(row.bound, call, item.kind, item.leaf) if call else "new"
                row = replace(row, origin=origin)
            rows.append(row)
        return Report(name, str(self.dtype), str(self.device), tuple(rows), masks_equal(rows))

    def _run_left(self, model: Module) -> Trace:
        wide = model is self.judge
        inputs = map_arrays(lambda a: _cast(a, np.dtype(np.float64)), self.inputs)
        model.zero_grad()
        with LeftTrace(model, self.methods) as trace:
            result, vjp = getattr(model, self.root)(*(inputs if wide else self.inputs))
            vjp(*(() if self.root == "loss" else self._cotangents(result, wide=wide)))
        return trace

    def _run_right(self) -> Trace:
        inputs = to_tensors(self.inputs, self.device)
        self.right.zero_grad(set_to_none=True)
        with RightTrace(self.right, self.methods) as trace:
            result = getattr(self.right, self.root)(*inputs)
            if self.root == "loss":
                result.total.backward()
            else:
                found = [tensor for _, tensor in leaves(result)]
                cotangents = to_tensors(self._cotangents(result), self.device)
                torch.autograd.backward(found, [c.detach() for c in cotangents])
        return trace

    def _cotangents(self, result: Any, *, wide: bool = False) -> tuple[np.ndarray, ...]:
        """One random array for each output: all-ones would hide a transpose."""
        drawn = (
            random.normal(COTANGENTS.fold_in(i), tuple(array.shape), dtype=self.dtype)
            for i, (_, array) in enumerate(leaves(result))
        )
        return tuple(array.astype(np.float64) if wide else array for array in drawn)

    def _items(self) -> Iterator[Item]:
        modules = dict(self.left.named_modules())
        parameters = self._parameters_by_last_call()
        done = 0
        for phase, call in self.trace.events:
            if phase != "cotangent":
                done += roundings(call, modules[call.module], phase)
            # the cotangent of the root is the comparison's own
            if phase != "cotangent" or call.parent is not None:
                yield from self._items_of(call, *_ARRAYS[phase], done)
            if phase == "vjp":
                for name in parameters.pop(call.name, []):
                    yield self._gradient(name, call, done)
        for name in (name for names in parameters.values() for name in names):
            yield self._gradient(name, None, done)
        for name in self.right_trace.calls.keys() - self.trace.calls.keys():
            extra = next(iter(self.right_trace.calls[name].outputs.values()))
            yield Item(name, "output", None, "", None, extra, None, done)

    def _items_of(
        self, call: Call, kind: str, pick: Callable[[Call], Arrays], done: int
    ) -> Iterator[Item]:
        ours, theirs, judged = (
            pick(trace.calls[call.name]) if trace and call.name in trace.calls else {}
            for trace in (self.trace, self.right_trace, self.judge_trace)
        )
        # an input that gets no gradient on the left is a constant there: a target, or noise
        names = ours if kind == "input gradient" else ours | theirs
        for leaf in names:
            left, right, judge = (found.get(leaf) for found in (ours, theirs, judged))
            yield Item(call.title(kind, leaf), kind, call, leaf, left, right, judge, done)

    def _gradient(self, name: str, call: Call | None, done: int) -> Item:
        right = dict(self.right.named_parameters()).get(name)
        theirs = None if right is None or right.grad is None else to_numpy(right.grad)
        judged = self.judge.gradients()[name] if self.judge else None
        ours = self.left.gradients()[name]
        return Item(name, "parameter gradient", call, name, ours, theirs, judged, done)

    def _parameters_by_last_call(self) -> dict[str, list[str]]:
        """Parameter names under the call whose vjp is the last to add to their gradients."""
        last = {call.module: call.name for phase, call in self.trace.events if phase == "vjp"}
        found: dict[str, list[str]] = {}
        for name, _ in self.left.named_parameters():
            found.setdefault(last.get(name.rpartition(".")[0], ""), []).append(name)
        return found

    def _row(self, item: Item) -> Row:
        if item.kind == "parameter gradient" and item.right is None:
            row = compare_arrays(item.title, item.kind, item.left, None, FLOAT64_BOUND)
            return replace(row, note="unused: no gradient reached it on the right")
        if self.judge is None:
            return compare_arrays(item.title, item.kind, item.left, item.right, FLOAT64_BOUND)
        floor = FLOAT64_BOUND if self.dtype == np.float64 else 0.0
        bound = max(floor, rounding_bound(self.dtype, item.roundings))
        rows = {
            side: compare_arrays(
                item.title, item.kind, found, item.judge, bound, (side, "float64 left")
            )
            for found, side in ((item.left, "left"), (item.right, "right"))
        }
        worst = worst_of(rows.values())
        side = next(side for side, row in rows.items() if row is worst)
        return worst if worst.ok else replace(worst, note=worst.note or f"the {side} panel is off")


_ARRAYS: dict[str, tuple[str, Callable[[Call], Arrays]]] = {
    "forward": ("output", lambda call: call.outputs),
    "cotangent": ("output gradient", lambda call: call.output_grads),
    "vjp": ("input gradient", lambda call: call.input_grads),
}


def compare_named(ours: Any, theirs: Any, kind: str, bound: float) -> list[Row]:
    """A row for each name that either side has."""
    arrays = [{n: to_numpy(array) for n, array in side.items()} for side in (ours, theirs)]
    names = arrays[0] | arrays[1]
    return [
        compare_arrays(name, kind, arrays[0].get(name), arrays[1].get(name), bound)
        for name in names
    ]


def masks_equal(rows: Iterable[Row]) -> bool | None:
    """Whether all that must be equal to the bit is; None where nothing must."""
    masks = [row.ok for row in rows if row.bound == 0 and row.kind in ("noise", "output")]
    return all(masks) if masks else None


def _cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return array.astype(dtype) if is_float(array) else array
