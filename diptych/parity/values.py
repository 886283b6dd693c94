"""Compare a registered pair in evaluation mode: its loss, and the values that it computes
without gradients, such as samples and reconstructions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from diptych import weights
from diptych.arrays import leaves, to_numpy, to_tensors
from diptych.options.options import Options
from diptych.pairs.pair import Pair, ValueFunction
from diptych.parity.comparing.comparison import Comparison
from diptych.parity.comparing.items import Item, TensorComparison
from diptych.parity.comparing.references import References
from diptych.parity.comparing.roundings import roundings
from diptych.parity.measures.bounds import ELEMENTWISE, rounding_bound
from diptych.parity.measures.rows import PROPAGATED, ROOT_CAUSE, Row, compare_named
from diptych.parity.running.numpy_side import NumpySide
from diptych.parity.running.numpy_trace import NumpyTrace
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Plan
from diptych.parity.running.torch_side import TorchSide
from diptych.parity.running.trace import Arrays
from model_specs.common.key import Key

PREFIX = "eval: "
"""Prefix of the names of rows of the loss in evaluation mode."""
LOSS = f"{PREFIX}loss"
FORWARD = ("noise", "output", "buffer")
"""Kinds of the rows whose errors values inherit"""
JUMPS = "one rounding can change its discrete results, so it is compared in float64 only"


class Panels(NamedTuple):
    """Both models of a pair, with equal parameters, and the batch for them in NumPy."""

    left: Any
    right: Any
    batch: Any
    batch_size: int
    key: Key


def compare_values(
    pair: Pair,
    config: Any,
    panels: Panels,
    options: Options,
    dtype: np.dtype,
    run: Run | None,
    failures: tuple[Row, ...],
) -> tuple[list[Row], tuple[str, ...]]:
    """Rows of all values in evaluation mode, and a note on each that is not compared.

    The right gets the left's buffers first, so that running statistics are used that are equal.
    `run` is the left's run of the training loss: a value runs the same layers, and its bound in
    float32 follows from their roundings. `failures` are the failing rows of training, from which
    values inherit errors.
    Raises: ValueError for a function that raises, with the side and its name.
    """
    left, right = panels.left, panels.right
    functions = {LOSS: _loss, **pair.values(config)}
    draws = pair.draws(config)
    notes = tuple(f"{name} ({JUMPS})" for name in draws) if dtype != np.float64 else ()
    functions |= draws if dtype == np.float64 else {}
    training = left.training, right.training
    left.eval()
    right.eval()
    try:
        if next(iter(left.named_buffers()), None) is not None:
            weights.transfer(left, right)  # the parameters are equal already
        buffers = {"left": _buffers(left), "right": _buffers(right)}
        noise, rows = _noise(panels, dtype)
        rows += _value_rows(panels, functions, noise, options, dtype, run)
        changed = [
            row
            for side, before in buffers.items()
            for row in _changes(before, getattr(panels, side), side)
        ]
        inherited = _reaches_values(failures)
        if not inherited and any(not row.ok and row.name.startswith(LOSS) for row in rows):
            calls = _calls(panels, noise, options, dtype)
            inherited = _reaches_values(calls)
            known = {row.name for row in calls}
            rows = [*calls, *(row for row in rows if row.name not in known)]
    finally:
        left.train(training[0])
        right.train(training[1])
    origin = PROPAGATED if inherited else ROOT_CAUSE
    rows = [row if row.ok or row.origin else replace(row, origin=origin) for row in rows]
    return [*rows, *changed], notes


def _reaches_values(failures: Iterable[Row]) -> bool:
    """True if one of the failing rows is of a forward pass, so that values inherit its error."""
    return any(row.kind in FORWARD for row in failures)


def _noise(panels: Panels, dtype: np.dtype) -> tuple[Any, list[Row]]:
    """The left's noise in evaluation mode, and rows that compare it with the right's."""
    noises = [
        model.draw_noise(panels.key.fold_in("noise"), panels.batch_size)
        for model in (panels.left, panels.right)
    ]
    left, right = (dict(leaves(noise, f"{PREFIX}noise")) for noise in noises)
    return noises[0], compare_named(left, right, "noise", rounding_bound(dtype, ELEMENTWISE))


def _calls(panels: Panels, noise: Any, options: Options, dtype: np.dtype) -> list[Row]:
    """The failing rows of a comparison in evaluation mode, which locates the layer at fault."""
    sides = NumpySide(panels.left, "left"), TorchSide(panels.right, "right")
    report = Comparison(*sides, panels.batch, noise, options, dtype).report("")
    return [replace(row, name=f"{PREFIX}{row.name}") for row in report.failures]


def _buffers(model: Any) -> Arrays:
    """Copies of all buffers by name."""
    return {f"{PREFIX}{name}": to_numpy(getattr(b, "data", b)) for name, b in model.named_buffers()}


def _changes(buffers: Arrays, model: Any, side: str) -> list[Row]:
    """A failing row for each buffer that evaluation changed."""
    return [
        replace(row, note=f"changed by evaluation on the {side}", origin=ROOT_CAUSE)
        for row in compare_named(_buffers(model), buffers, "buffer", 0.0)
        if not row.ok
    ]


def _loss(model: Any, batch: Any, noise: Any, key: Key) -> Any:
    result = model.loss(batch, noise)
    return result[0] if not hasattr(result, "_fields") else result  # the left's (terms, backward)


def _value_rows(
    panels: Panels,
    functions: Mapping[str, ValueFunction],
    noise: Any,
    options: Options,
    dtype: np.dtype,
    run: Run | None,
) -> list[Row]:
    side = _NumpyValues(panels.left, functions, panels.key)
    plan = Plan("loss", (panels.batch, noise), {}, lambda _: {}, set())
    first = side.run_once(plan)
    device = next(panels.right.parameters()).device
    with torch.no_grad():
        batch, noise = (to_tensors(array, device, track=False) for array in plan.inputs)
        right = _evaluate("right", panels.right, functions, batch, noise, panels.key)
    arbitrated = dtype != np.float64 or device.type != "cpu"
    references = References(side, plan, first, dtype)
    comparison = TensorComparison(dtype, references, options, arbitrated=arbitrated)
    modules = dict(panels.left.named_modules())
    events = run.events if run is not None else []
    total = sum(roundings(c, modules.get(c.module), p) for p, c in events if p == "forward")
    return [
        comparison.row(
            Item(
                name,
                "value",
                None,
                name,
                first.outputs.get(name),
                right.get(name),
                lambda run, name=name: run.outputs.get(name),  # type: ignore[misc]
                total + ELEMENTWISE,
            )
        )
        for name in dict.fromkeys([*first.outputs, *right])
        if not options.ignored(name)
    ]


class _NumpyValues(NumpySide):
    """The left panel with functions of it, whose results count as its outputs."""

    def __init__(self, model: Any, functions: Mapping[str, ValueFunction], key: Key) -> None:
        super().__init__(model, "left")
        self.functions, self.key = functions, key

    def _run(self, plan: Plan) -> Run:
        batch, noise = plan.inputs
        methods = {(path, m) for path in self.modules for m in self.defines(path)}
        # the trace puts an error into the results of each layer of a noisy run
        trace = NumpyTrace(self.modules, methods, noise=self._noise)
        with trace if self._noise is not None else contextlib.nullcontext():
            outputs = _evaluate(self.label, self.model, self.functions, batch, noise, self.key)
        return Run(plan.root, {}, [], {}, outputs=outputs)

    def twin(self, dtype: np.dtype) -> Self:
        return type(self)(self.model.astype(dtype), self.functions, self.key)


def _evaluate(
    label: str,
    model: Any,
    functions: Mapping[str, ValueFunction],
    batch: Any,
    noise: Any,
    key: Key,
) -> Arrays:
    """The arrays of all results by name."""
    arrays: Arrays = {}
    for name, function in functions.items():
        try:
            result = function(model, batch, noise, key.fold_in(name))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{label}: {name} raised {reason}") from error
        arrays |= {leaf: to_numpy(array) for leaf, array in leaves(result, name)}
    return arrays
