"""Compare joined values as the parity suite does: same bounds, same arbiter, same noisy runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Self

import numpy as np

from diptych.arrays import cast, leaves, map_arrays, to_numpy
from diptych.options.options import Options
from diptych.parity.comparing.items import Item, TensorComparison
from diptych.parity.comparing.references import References
from diptych.parity.comparing.roundings import roundings
from diptych.parity.measures.bounds import ELEMENTWISE, FLOAT64_BOUND
from diptych.parity.measures.rows import Row
from diptych.parity.running.numpy_side import NumpySide
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Plan
from diptych.parity.running.trace import Arrays, Call
from diptych.site.measured.joining import (
    JoinedValue,
    is_module_call,
    left_values,
    value_of,
)
from diptych.site.measured.line_trace import Frame, LineTrace
from diptych.site.measured.panel_files import PanelFile
from diptych.site.measured.traced_run import BACKWARD, VALUES, LeftRun, TracedRun


def compare_values(run: TracedRun, values: list[JoinedValue]) -> Iterator[tuple[JoinedValue, Row]]:
    """(value, its comparison) of every value that has a twin."""
    dtype = np.dtype(run.dtype)
    plan = Plan("loss", run.left.inputs, {}, lambda _: {}, set(), dtype=dtype)
    outputs = {v.key: v.array for v in values if v.twin is not None}
    keys = frozenset(outputs)
    first = Run("loss", {}, [], {}, outputs=outputs, dtype=dtype)
    comparisons = {}
    for evaluates in (False, True):  # further runs evaluate only if such a value needs them
        side = TracedSide(run.left, run.trace.files, keys, evaluates)
        references = References(side, plan, first, dtype)
        comparisons[evaluates] = TensorComparison(
            dtype, references, Options(), arbitrated=dtype != np.float64
        )
    rows: dict[tuple[int, int, str], Row] = {}
    counts = {phase: _roundings(run, phase) for phase in ("forward", "vjp")}
    for value in values:
        if value.twin is None:
            continue
        known = value.source, id(value.twin), value.kind
        if known in rows:  # the same array under another name
            yield value, replace(rows[known], name=value.name)
            continue
        if np.array_equal(value.array, value.twin):
            bound = 0.0 if value.array.dtype.kind in "biu" else FLOAT64_BOUND
            yield value, Row(value.name, value.kind, value.array.shape, 0.0, bound)
            continue
        total = counts["forward"] + (counts["vjp"] if value.phase == BACKWARD else 0)
        item = Item(
            value.name,
            value.kind,
            None,
            value.key,
            cast(value.array, dtype),
            cast(value.twin, dtype),
            lambda run, key=value.key: run.outputs.get(key),  # type: ignore[misc]
            total + ELEMENTWISE,
        )
        rows[known] = comparisons[value.phase.startswith(VALUES)].row(item)
        yield value, rows[known]


def _roundings(run: TracedRun, phase: str) -> int:
    """The roundings of all module calls of the loss, on which the bounds in float32 depend."""
    frames = [f for f in run.trace.frames if is_module_call(f) and f.finished]
    return sum(roundings(_call(frame), frame.owner, phase) for frame in frames)


def _call(frame: Frame) -> Call:
    call = Call("", "", "", None)
    call.outputs = {n: to_numpy(a) for n, a in leaves(value_of(frame.result))}
    call.inputs = {n: to_numpy(a) for n, a in leaves([v for _, v in frame.inputs])}
    return call


class TracedSide(NumpySide):
    """The left panel under the line trace, every recorded value of which counts as an output."""

    def __init__(
        self,
        left: LeftRun,
        files: Mapping[str, PanelFile],
        keys: frozenset[str],
        evaluates: bool,
    ) -> None:
        left.model.load_state_dict(left.state)
        super().__init__(left.model, "left")
        self.left, self.files, self.keys, self.evaluates = left, files, keys, evaluates

    def _run(self, plan: Plan) -> Run:
        left, trace = self.left, LineTrace(self.files)
        left.inputs = plan.inputs
        if self._noise is not None:  # the largest value of a noisy batch would leave its range
            left.inputs = plan.inputs[0], map_arrays(self._noise.wrap, plan.inputs[1])
        self._initialize(trace)
        with contextlib.suppress(Exception):  # a noisy value may leave its range
            left.loss(trace)
            if self.evaluates and left.other_loss is None:
                left.evaluate(trace)
        outputs: Arrays = {key: value.array for key, _, _, value in left_values(trace.frames)}
        trace.close()
        return Run(plan.root, {}, [], {}, outputs=outputs)

    def _initialize(self, trace: LineTrace) -> None:
        """Initialise by the batch from the first state, then go back to the state of the run."""
        model = self.left.model
        if not hasattr(model, "initialize"):
            return
        own = {name: p.data.copy() for name, p in model.named_parameters()}
        model.load_state_dict(self.left.first)
        with contextlib.suppress(Exception):
            self.left.initialize(trace)
        for name, parameter in model.named_parameters():
            parameter.data[...] = own[name]

    def twin(self, dtype: np.dtype) -> Self | None:
        old = self.left
        model = old.model.astype(dtype)
        # of several windows the values are those of the model inside
        base = getattr(model, "model", model) if old.base is not old.model else model
        prepared = replace(
            old.prepared,
            left=model,
            panels=old.prepared.panels._replace(
                left=base, batch=map_arrays(lambda a: cast(a, dtype), old.prepared.panels.batch)
            ),
        )
        left = LeftRun(prepared, old.first, old.other_loss)
        left.state = old.state
        return type(self)(left, self.files, self.keys, self.evaluates)
