"""One run of a pair on one batch and one noise, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych import weights
from diptych.parity.bounds import FLOAT64_BOUND, rounding_bound, roundings
from diptych.parity.replay import Replay
from diptych.parity.report import Report, Row, compare_arrays, worst_of
from diptych.parity.trace import Arrays, Call, LeftTrace, RightTrace, shared_methods
from diptych.parity.tree import is_float, leaves, map_arrays, to_numpy
from model_specs.key import Key
from numpy_ref import random
from numpy_ref.module import Module

COTANGENTS = Key(0).fold_in("cotangents")


class Comparison:
    """One run of a pair, and the rows that come of it."""

    def __init__(
        self, left: Module, right: nn.Module, batch: Any, noise: Any, dtype: np.dtype
    ) -> None:
        first = next(right.parameters(), None)
        self.device = torch.device("cpu") if first is None else first.device
        self.dtype, self.left, self.right = dtype, left, right
        self.arbitrated = dtype != np.float64 or self.device.type != "cpu"
        self.methods = shared_methods(left, right)
        root = "loss" if ("", "loss") in self.methods else "forward"
        if ("", root) not in self.methods:
            raise ValueError(
                f"pair: {type(left).__name__} and {type(right).__name__} share neither "
                "`loss` nor `forward`, take one of them on both"
            )
        inputs = batch if isinstance(batch, tuple) and not hasattr(batch, "_fields") else (batch,)
        self.inputs = (*inputs, noise) if root == "loss" else inputs

        self.trace = self._run_left(left, root, dtype)
        judge = left.astype(np.float64) if self.arbitrated else None
        self.judge_trace = self._run_left(judge, root, np.dtype(np.float64)) if judge else None
        self.judge = judge
        # what the left traced is what there is to compare; its value-only methods are not
        self.methods = {(call.module, call.method) for call in self.trace.calls.values()}
        self.replay = Replay(right, self.methods, self.device)
        self.right_trace = self._run_right(root)

    def report(self, name: str) -> Report:
        rows: list[Row] = []
        for row, judged in self._rows():
            rows.append(row if row.ok else replace(row, origin=judged(rows)))
        return Report(name, str(self.dtype), str(self.device), tuple(rows), masks_equal(rows))

    def _run_left(self, model: Module, root: str, dtype: np.dtype) -> LeftTrace:
        inputs = map_arrays(lambda a: _cast(to_numpy(a), dtype), self.inputs)
        model.zero_grad()
        with LeftTrace(model, self.methods) as trace:
            result, vjp = getattr(model, root)(*inputs)
            cotangents = () if root == "loss" else _cotangents(result, dtype)
            vjp(*cotangents)
        assert isinstance(trace, LeftTrace)
        return trace

    def _run_right(self, root: str) -> RightTrace:
        inputs = self.replay.tensors(self.inputs, self.dtype)
        self.right.zero_grad(set_to_none=True)
        with RightTrace(self.right, self.methods) as trace:
            result = getattr(self.right, root)(*inputs)
            if root == "loss":
                result.total.backward()
            else:
                found = [tensor for _, tensor in leaves(result)]
                grads = self.replay.tensors(_cotangents(result, self.dtype), self.dtype)
                torch.autograd.backward(found, [g.detach() for g in grads])
        assert isinstance(trace, RightTrace)
        return trace

    def _rows(self) -> Iterator[tuple[Row, Callable[[list[Row]], str]]]:
        """Each row, and a function of the rows before it that says new or inherited."""
        own = self.left.state_dict()
        twin = weights.to_arrays(self.right.state_dict())
        for row in compare_named(own, twin, "parameter", 0.0):
            yield row, lambda _: "new"
        modules = dict(self.left.named_modules())
        failed: list[tuple[Call, str]] = []
        parameters = self._parameters_by_last_call()
        right_grads = {
            n: None if p.grad is None else to_numpy(p.grad)
            for n, p in self.right.named_parameters()
        }
        done = 0

        def judge(call: Call, kind: str, name: str) -> Callable[[list[Row]], str]:
            def verdict(before: list[Row]) -> str:
                inherited = self._explained(call, kind, failed) or any(
                    row.kind == "parameter" and not row.ok for row in before
                )
                agrees = inherited or self.replay.agrees(
                    self.trace, call, kind, name, self._bound(done)
                )
                if inherited or not agrees:  # else it came in from outside, and explains nothing
                    failed.append((call, kind))
                return "inherited" if agrees else "new"

            return verdict

        for phase, call in self.trace.events:
            if phase != "cotangent":
                done += roundings(call, modules[call.module], phase)
            twin_call = self.right_trace.calls.get(call.name)
            for kind, pick in _ARRAYS[phase]:
                if kind == "output gradient" and call.parent is None:
                    continue
                ours = pick(call)
                theirs = pick(twin_call) if twin_call else {}
                names = (
                    list(ours) if kind == "input gradient" else [*ours, *(set(theirs) - set(ours))]
                )
                for leaf in names:
                    title = call.title(kind, leaf)
                    reference = self._reference(call.name, pick, leaf)
                    row = self._row(title, kind, ours.get(leaf), theirs.get(leaf), reference, done)
                    yield row, judge(call, kind, leaf)
            if phase == "vjp":
                for name in parameters.pop(call.name, []):
                    yield (
                        self._gradient_row(name, right_grads, done),
                        judge(call, "parameter gradient", name),
                    )
        for names in parameters.values():
            for name in names:
                yield self._gradient_row(name, right_grads, done), lambda _: "new"

    def _gradient_row(self, name: str, right: dict[str, Any], done: int) -> Row:
        kind = "parameter gradient"
        if right.get(name) is None:
            row = compare_arrays(name, kind, self.left.gradients()[name], None, self._bound(done))
            return replace(row, note="unused: no gradient reached it on the right")
        reference = self.judge.gradients()[name] if self.judge else None
        return self._row(name, kind, self.left.gradients()[name], right[name], reference, done)

    def _row(self, name: str, kind: str, left: Any, right: Any, reference: Any, done: int) -> Row:
        bound = self._bound(done)
        if not self.arbitrated:
            return compare_arrays(name, kind, left, right, bound)
        rows = [
            compare_arrays(name, kind, found, reference, bound, (side, "float64 left"))
            for found, side in ((left, "left"), (right, "right"))
        ]
        worst = worst_of(rows)
        side = "left" if worst is rows[0] else "right"
        return worst if worst.ok else replace(worst, note=worst.note or f"the {side} panel is off")

    def _reference(self, name: str, pick: Callable[[Call], Arrays], leaf: str) -> Any:
        call = self.judge_trace.calls.get(name) if self.judge_trace else None
        return pick(call).get(leaf) if call else None

    def _bound(self, done: int) -> float:
        if not self.arbitrated:
            return FLOAT64_BOUND
        floor = FLOAT64_BOUND if self.dtype == np.float64 else 0.0
        return max(floor, rounding_bound(self.dtype, done))

    def _parameters_by_last_call(self) -> dict[str, list[str]]:
        """Parameter names under the call whose vjp is the last to add to their gradients."""
        last = {call.module: call.name for phase, call in self.trace.events if phase == "vjp"}
        found: dict[str, list[str]] = {}
        for name, _ in self.left.named_parameters():
            found.setdefault(last.get(name.rpartition(".")[0], ""), []).append(name)
        return found

    @staticmethod
    def _explained(call: Call, kind: str, failed: list[tuple[Call, str]]) -> bool:
        """Whether a row inside this call (or, for a cotangent, inside its caller) failed before."""
        if kind == "output gradient":
            gradients = ("input gradient", "output gradient")
            return any(
                other.parent is call.parent or (call.parent and other.inside(call.parent))
                for other, what in failed
                if what in gradients
            )
        same = ("output",) if kind == "output" else ("input gradient", "output gradient")
        return any(other.inside(call) for other, what in failed if what in same)


_ARRAYS: dict[str, list[tuple[str, Callable[[Call], Arrays]]]] = {
    "forward": [("output", lambda call: call.outputs)],
    "cotangent": [("output gradient", lambda call: call.output_grads)],
    "vjp": [("input gradient", lambda call: call.input_grads)],
}


def compare_named(ours: Any, theirs: Any, kind: str, bound: float) -> list[Row]:
    names = [*ours, *(name for name in theirs if name not in ours)]
    return [
        compare_arrays(name, kind, _maybe(ours.get(name)), _maybe(theirs.get(name)), bound)
        for name in names
    ]


def _maybe(array: Any) -> np.ndarray | None:
    return None if array is None else to_numpy(array)


def masks_equal(rows: Any) -> bool | None:
    masks = [row.ok for row in rows if row.bound == 0 and row.kind in ("noise", "output")]
    return all(masks) if masks else None


def _cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return array.astype(dtype) if is_float(array) else array


def _cotangents(result: Any, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """One random array for each output: all-ones would hide a transpose."""
    return tuple(
        random.normal(COTANGENTS.fold_in(i), tuple(array.shape), dtype=dtype)
        for i, (_, array) in enumerate(leaves(result))
    )
