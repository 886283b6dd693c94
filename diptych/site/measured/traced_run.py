"""Run both panels of a registered pair as the parity check does, under the line trace."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diptych import weights
from diptych.arrays import leaves, map_arrays, to_numpy, to_tensors
from diptych.parity.registered import BATCH_SIZE, PreparedPair, prepare
from diptych.site.measured.line_trace import LineTrace, gradient_edge
from diptych.site.measured.panel_files import PanelFile, read_panel_file
from diptych.site.measured.right_graph import RightGraph
from diptych.site.sources.page import SourcePage

CPU = torch.device("cpu")
CONSTRUCT, INITIALIZE, LOSS, BACKWARD, VALUES = (
    "construct",
    "initialize",
    "loss",
    "backward",
    "values of ",
)
"""The phases of a run; VALUES is the beginning of the names of several."""


@dataclass(eq=False)
class ModuleCall:
    """One call of a module of the right panel, which torch may supply."""

    path: str
    inputs: tuple[Any, ...]
    edges: dict[int, Any]
    first: int
    last: int = -1
    output: Any = None
    ends: dict[int, Any] = field(default_factory=dict)
    """the outputs' places in torch's graph"""


@dataclass(eq=False)
class TracedRun:
    """The record of one run of both panels."""

    name: str
    dtype: str
    trace: LineTrace
    left: LeftRun
    graph: RightGraph | None = None
    module_calls: list[ModuleCall] = field(default_factory=list)
    gradients: dict[str, tuple[np.ndarray, np.ndarray, int]] = field(default_factory=dict)
    """of every parameter: the left's own array, the right's gradient, and its number of uses"""
    problem: str = ""

    def close(self) -> None:
        """Free the arrays."""
        self.trace.close()
        self.module_calls.clear()
        self.graph = None


def panel_files(pages: list[SourcePage]) -> dict[str, PanelFile]:
    """The panel files of all pages by path."""
    files = {}
    for page in pages:
        for side in ("left", "right"):
            path: Path | None = getattr(page.file, side)
            if path is not None:
                files[str(path)] = read_panel_file(path, page.file.stem, side)
    return files


Losses = tuple[Callable[..., Any], Callable[..., Any]]
"""Functions (model, batch, noise) -> the loss of the left, and of the right"""


def trace_pair(
    name: str, dtype: str, files: Mapping[str, PanelFile], losses: Losses | None = None
) -> TracedRun:
    """Trace the construction, the loss, its gradients and the values of a registered pair.

    With `losses`, these are the losses in place of the models' own, and no values are computed.
    """
    trace = LineTrace(files)
    with trace:
        trace.phase = CONSTRUCT
        prepared = prepare(name, dtype)
    left, right = prepared.left, prepared.right
    first = left.state_dict()
    left_run = LeftRun(prepared, first, None if losses is None else losses[0])
    weights.transfer(left, right)
    left_run.initialize(trace)
    if hasattr(right, "initialize"):
        with trace:
            right.initialize(*to_tensors((prepared.batch, prepared.noise), CPU, track=False))
    run = TracedRun(name, dtype, trace, left_run)
    left_run.state = left.state_dict()
    for traced in (True, False):  # the second run shows that the trace changes nothing
        left.load_state_dict(left_run.state)
        weights.transfer(left, right)
        right_loss = right.loss if losses is None else functools.partial(losses[1], right)
        _run_loss(run, left_run, right, right_loss, traced)
    left.load_state_dict(left_run.state)
    weights.transfer(left, right)
    if losses is None:
        left_run.evaluate(trace)
        _evaluate(run, prepared)
    trace.name_modules(left, right)
    return run


class LeftRun:
    """The phases of a run of the left panel: initialisation, loss, gradients and values."""

    def __init__(
        self,
        prepared: PreparedPair,
        first: Mapping[str, np.ndarray],
        loss: Callable[..., Any] | None = None,
    ) -> None:
        self.prepared, self.other_loss = prepared, loss
        self.model, self.base = prepared.left, prepared.panels.left
        self.inputs: Any = (prepared.batch, prepared.noise)
        self.first, self.state = first, first
        """the state before the initialisation by a batch, and after it"""

    def initialize(self, trace: LineTrace) -> None:
        """Initialise the weights by the batch, as training does."""
        if hasattr(self.model, "initialize"):
            with trace:
                trace.phase = INITIALIZE
                self.model.initialize(*self.inputs)

    def loss(self, trace: LineTrace | None) -> None:
        """The loss and its gradients."""
        self.model.zero_grad()
        inputs = map_arrays(lambda array: array.copy(), self.inputs)
        with trace or contextlib.nullcontext():
            if trace is not None:
                trace.phase = LOSS
            if self.other_loss is None:
                _, backward = self.model.loss(*inputs)
            else:
                _, backward = self.other_loss(self.model, *inputs)
            if trace is not None:
                trace.phase = BACKWARD
            backward()

    def evaluate(self, trace: LineTrace) -> None:
        """The values in evaluation mode, such as samples."""
        prepared = self.prepared
        self.base.eval()
        noise = self.base.draw_noise(prepared.panels.key.fold_in("noise"), BATCH_SIZE)
        for name, function, key in value_functions(prepared):
            with trace:
                trace.phase = f"{VALUES}{name}"
                function(self.base, prepared.panels.batch, noise, key)
        self.base.train()


def value_functions(prepared: PreparedPair) -> list[tuple[str, Any, Any]]:
    """(name, function, key) of the values of a pair in evaluation mode."""
    functions = dict(prepared.pair.values(prepared.config))
    if prepared.dtype == np.float64:
        functions |= prepared.pair.draws(prepared.config)
    key = prepared.panels.key
    return [(name, function, key.fold_in(name)) for name, function in functions.items()]


def _run_loss(
    run: TracedRun, left_run: LeftRun, right: Any, right_loss: Callable[..., Any], traced: bool
) -> None:
    """The training loss and its gradients on both sides; without the trace, compare with those."""
    trace, left = run.trace, left_run.model
    if not traced:
        for parameter in left.parameters():
            parameter.grad = np.zeros_like(parameter.grad)  # the trace's own arrays stay
    left_run.loss(trace if traced else None)
    right.zero_grad(set_to_none=True)
    tensors = to_tensors(left_run.inputs, CPU, track=False)
    if traced:
        with _watched(right, run.module_calls), trace:
            trace.phase = LOSS
            total = right_loss(*tensors).total
        run.graph = RightGraph(total)
        total.backward()
        run.graph.close()
    else:
        right_loss(*tensors).total.backward()
    rights = {n: to_numpy(p.grad) for n, p in right.named_parameters() if p.grad is not None}
    if traced:
        edges = {n: gradient_edge(p) for n, p in right.named_parameters()}
        run.gradients = {
            name: (parameter.grad, rights[name], run.graph.count(edges[name]))
            for name, parameter in left.named_parameters()
            if run.graph is not None and name in rights
        }
        return
    for name, parameter in left.named_parameters():
        if name not in run.gradients:
            continue
        ours, theirs, _ = run.gradients[name]
        same = {"left": (ours, parameter.grad), "right": (theirs, rights[name])}
        for side, (first, second) in same.items():
            if not np.array_equal(first, second, equal_nan=True):
                run.problem = f"{side}: tracing changes the gradient of {name}"


def _evaluate(run: TracedRun, prepared: PreparedPair) -> None:
    """The values of the right panel in evaluation mode."""
    panels = prepared.panels
    panels.left.eval()
    panels.right.eval()
    noise = panels.left.draw_noise(panels.key.fold_in("noise"), BATCH_SIZE)
    batch, noise = to_tensors((panels.batch, noise), CPU, track=False)
    for name, function, key in value_functions(prepared):
        with run.trace, torch.no_grad():
            run.trace.phase = f"{VALUES}{name}"
            function(panels.right, batch, noise, key)
    panels.left.train()
    panels.right.train()


@contextmanager
def _watched(model: torch.nn.Module, calls: list[ModuleCall]) -> Iterator[None]:
    """Record the calls of all modules of the right panel inside the block."""
    handles = []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(functools.partial(_enter, path, calls)))
        handles.append(module.register_forward_hook(functools.partial(_leave, path, calls)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _enter(path: str, calls: list[ModuleCall], module: Any, inputs: Any) -> None:
    edges = {id(t): e for _, t in leaves(inputs) if (e := gradient_edge(t)) is not None}
    calls.append(ModuleCall(path, inputs, edges, torch._C._autograd._get_sequence_nr()))


def _leave(path: str, calls: list[ModuleCall], module: Any, inputs: Any, output: Any) -> None:
    call = next(c for c in reversed(calls) if c.path == path and c.last < 0)
    call.last, call.output = torch._C._autograd._get_sequence_nr(), output
    call.ends = {id(t): e for _, t in leaves(output) if (e := gradient_edge(t)) is not None}
