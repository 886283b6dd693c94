"""Run both panels of a registered pair as the parity check does, under the line trace."""

from __future__ import annotations

import functools
from collections import Counter
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
LOSS, BACKWARD = "loss", "backward"


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
    graph: RightGraph | None = None
    module_calls: list[ModuleCall] = field(default_factory=list)
    gradients: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    """of every parameter: the left's own array, and the right's gradient"""
    problem: str = ""


def panel_files(pages: list[SourcePage]) -> dict[str, PanelFile]:
    """The panel files of all pages by path."""
    files = {}
    for page in pages:
        for side in ("left", "right"):
            path: Path | None = getattr(page.file, side)
            if path is not None:
                files[str(path)] = read_panel_file(path, page.file.stem, side)  # type: ignore[arg-type]
    return files


def trace_pair(name: str, dtype: str, files: Mapping[str, PanelFile]) -> TracedRun:
    """Trace the construction, the loss, its gradients and the values of a registered pair."""
    trace = LineTrace(files)
    run = TracedRun(name, dtype, trace)
    with trace:
        trace.phase = "construct"
        prepared = prepare(name, dtype)
    left, right = prepared.left, prepared.right
    inputs = prepared.batch, prepared.noise
    weights.transfer(left, right)
    if hasattr(left, "initialize") and hasattr(right, "initialize"):
        with trace:
            trace.phase = "initialize"
            left.initialize(*inputs)
            right.initialize(*to_tensors(inputs, CPU, track=False))
        weights.transfer(left, right)
    state = left.state_dict()
    _trace_loss(run, prepared, inputs)
    run.problem = _changed(run, prepared, inputs, state)
    left.load_state_dict(state)
    weights.transfer(left, right)
    _trace_values(run, prepared)
    trace.name_modules(left, right)
    return run


def _trace_loss(run: TracedRun, prepared: PreparedPair, inputs: Any) -> None:
    """The training loss and its gradients on both sides."""
    trace, left, right = run.trace, prepared.left, prepared.right
    left.zero_grad()
    with trace:
        trace.phase = LOSS
        _, backward = left.loss(*map_arrays(np.array, inputs))
        trace.phase = BACKWARD
        backward()
    right.zero_grad(set_to_none=True)
    with _watched(right, run.module_calls), trace:
        trace.phase = LOSS
        result = right.loss(*to_tensors(inputs, CPU, track=False))
    run.graph = RightGraph(result.total)
    result.total.backward()
    run.graph.close()
    rights = {n: p.grad for n, p in right.named_parameters()}
    for name, parameter in left.named_parameters():
        if (gradient := rights.get(name)) is not None:
            run.gradients.append((parameter.grad, to_numpy(gradient)))


def _changed(run: TracedRun, prepared: PreparedPair, inputs: Any, state: Any) -> str:
    """Run again without a trace; the name of a gradient that the trace has changed, or ""."""
    left, right = prepared.left, prepared.right
    left_first = {n: g.copy() for n, g in left.gradients().items()}
    right_first = {n: to_numpy(p.grad) for n, p in right.named_parameters() if p.grad is not None}
    grads = {n: p.grad for n, p in left.named_parameters()}
    for _, parameter in left.named_parameters():
        parameter.grad = np.zeros_like(parameter.grad)  # the trace's own array stays
    left.load_state_dict(state)
    weights.transfer(left, right)
    right.zero_grad(set_to_none=True)
    _, backward = left.loss(*map_arrays(np.array, inputs))
    backward()
    right.loss(*to_tensors(inputs, CPU, track=False)).total.backward()
    again = {n: to_numpy(p.grad) for n, p in right.named_parameters() if p.grad is not None}
    for side, first, second in (
        ("left", left_first, left.gradients()),
        ("right", right_first, again),
    ):
        for name, gradient in first.items():
            if not np.array_equal(gradient, second[name], equal_nan=True):
                return f"{side}: tracing changes the gradient of {name}"
    for name, parameter in left.named_parameters():
        parameter.grad = grads[name]
    return ""


def _trace_values(run: TracedRun, prepared: PreparedPair) -> None:
    """The values of both panels in evaluation mode, such as samples."""
    panels, trace = prepared.panels, run.trace
    functions = dict(prepared.pair.values(prepared.config))
    functions |= prepared.pair.draws(prepared.config) if run.dtype == "float64" else {}
    panels.left.eval()
    panels.right.eval()
    noise = panels.left.draw_noise(panels.key.fold_in("noise"), BATCH_SIZE)
    tensors = to_tensors((panels.batch, noise), CPU, track=False)
    for name, function in functions.items():
        key = panels.key.fold_in(name)
        with trace, torch.no_grad():
            trace.phase = f"values of {name}"
            function(panels.left, panels.batch, noise, key)
            function(panels.right, *tensors, key)
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
