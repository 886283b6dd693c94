"""Join the gradients of the left's vjps with those of torch's graph, where they mean the same.

A vjp belongs to the call that returned it. With F that call on the left, and its twin on the right
begun at node number `first` and ended before `last` of torch's graph:

    an argument of the vjp   is the gradient of an output of F from all its uses after the call
    a result of the vjp      is the gradient of an input of F from its uses within the call
    a local dX of the vjp    may be the whole gradient of the local X of F, or a part or a factor of
                             it: it counts only if it is close to the whole

So a contribution to a gradient is never compared with the whole. Arrays that a vjp gets or returns
keep their twin under every other name that they have.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from diptych.arrays import leaves, to_numpy
from diptych.parity.measures.errors import normwise
from diptych.parity.running.numpy_trace import named_gradients
from diptych.parity.running.trace import Call
from diptych.site.measured.line_trace import Frame
from diptych.site.measured.panel_files import allocates
from diptych.site.measured.traced_run import BACKWARD, TracedRun
from diptych.site.measured.twins import Twins

CLOSE = 1e-2
"""Relative difference below which a local dX counts as the gradient of X."""


class Span:
    """A call of the right panel: its inputs and outputs with their places in torch's graph."""

    def __init__(
        self, inputs: Any, output: Any, edges: dict[int, Any], run: range, ends: dict[int, Any]
    ) -> None:
        self.inputs, self.output, self.edges, self.run, self.ends = inputs, output, edges, run, ends


class GradientTwins:
    """Finds the twins of the gradients of one run, and adds them to `twins`."""

    def __init__(self, run: TracedRun, pairs: dict[Frame, Frame], twins: Twins) -> None:
        assert run.graph is not None
        self.run, self.graph, self.pairs, self.twins = run, run.graph, pairs, twins
        self._owners = _owners(run.trace.frames)
        self.backward = [
            f
            for f in run.trace.frames
            if f.side == "left" and f.phase == BACKWARD and f.function.nested and f.finished
        ]

    def join(self) -> None:
        """Join the gradients of parameters, and those of every vjp."""
        for gradient, twin, _ in self.run.gradients.values():
            self.twins.add_object(gradient, twin)
        self._join_added()
        calls: defaultdict[int, list[tuple[Frame, list[Frame]]]] = defaultdict(list)
        for vjp in self.backward:
            function, owners = self._owner(vjp)
            calls[id(function) if function is not None else id(vjp)].append((vjp, owners))
        for group in calls.values():
            if len(group) > 1:  # parts of a gradient, which add up
                continue
            for vjp, owners in group:
                for owner in owners:
                    self._join_ends(vjp, owner)
                    self._join_locals(vjp, owner)

    def _join_added(self) -> None:
        """Join dW of `weight.grad += dW` with the gradient of a weight that is used once."""
        whole = {id(g): twin for g, twin, uses in self.run.gradients.values() if uses == 1}
        for vjp in self.backward:
            for execution in vjp.executions:
                node = execution.site.node
                if isinstance(node, ast.AugAssign) and isinstance(node.value, ast.Name):
                    for value in execution.values:
                        if id(value.source) in whole:
                            added = vjp.variables.get(node.value.id)
                            self.twins.add_object(added, whole[id(value.source)])

    def _owner(self, vjp: Frame) -> tuple[Any, list[Frame]]:
        """The function that ran as `vjp`, and the calls that returned it."""
        fits: dict[int, tuple[Any, list[Frame]]] = {}
        for function, frame in self._owners.get(vjp.code, []):
            cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            if all(vjp.variables.get(n) is _content(cell) for n, cell in cells):
                fits.setdefault(id(function), (function, []))[1].append(frame)
        return next(iter(fits.values())) if len(fits) == 1 else (None, [])

    def _join_ends(self, vjp: Frame, owner: Frame) -> None:
        """Join the arguments and the results of a vjp."""
        span = self._span(owner)
        if span is None:
            return
        outputs = [(n, a) for n, a in leaves(span.output)]
        ours = list(leaves(_value(owner.result)))
        cotangents = [value for _, value in vjp.inputs]
        flat = [a for c in cotangents for a in (_flat(c))]
        if len(ours) == len(outputs) == len(flat):
            for cotangent, (_, tensor) in zip(flat, outputs, strict=True):
                edge = span.ends.get(id(tensor))
                if edge is not None and isinstance(cotangent, np.ndarray | np.generic):
                    self.twins.add_object(cotangent, self.graph.gradient(edge, span.run.stop))
        inputs = [value for _, value in owner.inputs]
        call = Call("", "", "", None, tuple(inputs), tuple(n for n, _ in owner.inputs))
        call.inputs = {n: to_numpy(a) for i, v in enumerate(inputs) for n, a in leaves(v, str(i))}
        theirs = dict(n for i, v in enumerate(span.inputs) for n in leaves(v, str(i)))
        passed = {id(tensor) for _, tensor in outputs}
        counts = Counter(id(tensor) for tensor in theirs.values())
        try:
            gradients = named_gradients(call, vjp.result)
        except ValueError:
            return
        for name, gradient in gradients:
            tensor = theirs.get(name)
            if tensor is None or not isinstance(gradient, np.ndarray | np.generic):
                continue
            edge = span.edges.get(id(tensor))
            if edge is not None and counts[id(tensor)] == 1:  # else the parts cannot be told apart
                last = float("inf") if id(tensor) in passed else span.run.stop
                self.twins.add_object(gradient, self.graph.gradient(edge, span.run.start, last))

    def _span(self, owner: Frame) -> Span | None:
        right = self.pairs.get(owner)
        if right is not None:
            ends = {id(v.source): v.edge for e in right.executions for v in e.values if v.edge}
            ends = {id(t): e for _, t in leaves(right.result) if (e := ends.get(id(t)))}
            return Span(
                [v for _, v in right.inputs],
                right.result,
                right.edges,
                range(right.first, right.last),
                ends,
            )
        call = self.twins.module_calls.get(owner)
        if call is None:
            return None
        return Span(call.inputs, call.output, call.edges, range(call.first, call.last), call.ends)

    def _join_locals(self, vjp: Frame, owner: Frame) -> None:
        """Join the last dX of a vjp with the gradient of X."""
        last = {v.name: (e, v) for e in vjp.executions for v in e.values}
        for name, (execution, value) in last.items():
            edge = self.twins.edges.get((owner, name[1:])) if name.startswith("d") else None
            if edge is None or allocates(execution.site.node):
                continue
            twin = self.graph.gradient(edge)
            if twin is None or twin.size != value.array.size:
                continue
            twin = twin.reshape(value.array.shape)
            with np.errstate(all="ignore"):
                is_close = normwise(value.array, twin) < CLOSE
            if is_close:
                self.twins.add_gradient(execution, value, twin)


def _owners(frames: list[Frame]) -> dict[Any, list[tuple[Any, Frame]]]:
    """Code of a vjp -> (function, the call that returned it)."""
    owners = defaultdict(list)
    for frame in frames:
        result = frame.result
        if frame.side == "left" and isinstance(result, tuple) and len(result) == 2:
            code = getattr(result[1], "__code__", None)
            if code is not None:
                owners[code].append((result[1], frame))
    return owners


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _value(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def _flat(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [item for part in value for item in _flat(part)]
    return [value]
