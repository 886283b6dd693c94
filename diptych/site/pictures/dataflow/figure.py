"""The picture of a model's data flow, for each variant whose calls are connected differently."""

from __future__ import annotations

import torch
from markupsafe import Markup
from torch import nn

from diptych import pairs
from diptych.arrays import to_tensors
from diptych.parity.registered import BATCH_SIZE
from diptych.parity.running.torch_names import TorchNames
from diptych.parity.running.torch_trace import TorchTrace
from diptych.parity.running.trace import Call, public_methods
from diptych.site.pictures.dataflow.boxes import flow_graph
from diptych.site.pictures.dataflow.drawing import draw_flow
from diptych.site.pictures.dataflow.graph import FlowGraph
from diptych.site.pictures.dataflow.tracing import FlowRun, panel, run_flow
from diptych.site.pictures.picture import Picture, controls, panels, scroller, switch


def data_flow(model: str) -> Picture:
    """The data flow of a model, with a switch for its variants."""
    runs: dict[str, tuple[FlowRun, FlowGraph]] = {}
    for name in pairs.names([model]):
        run = run_flow(name)
        graph = flow_graph(run)
        if not any(graph.looks_like(other) for _, other in runs.values()):
            runs[name] = run, graph
    drawings = []
    for index, (name, (_, graph)) in enumerate(runs.items()):
        label = f"Data flow of {name}: modules as boxes, arrays as arrows."
        svg = draw_flow(graph, model, label, f"arrow-head-{index}")
        drawings.append((name, scroller(svg, label)))
    choices = [(name, _variant(name)) for name in runs]
    html = controls(switch("flow", "Variant", choices)) if len(runs) > 1 else Markup("")
    count = {name: len(shared_calls(name, run)) for name, (run, _) in runs.items()}
    caption = Markup(
        "The data flow of one training loss, recorded in a run of the left panel with a batch of "
        "{batch}. An arrow carries the shape of its array. Layers that keep the shape stand in one "
        "box; a frame is a method or a module, and what stands in it are the calls that it makes. "
        "Each name leads to its code. {agree} A variant is left out where its calls are connected "
        "like those of an earlier one."
    ).format(batch=BATCH_SIZE, agree=_agreement(count))
    return Picture("flow", "Data flow", caption, html + panels("flow", drawings))


def shared_calls(name: str, run: FlowRun) -> list[str]:
    """The calls that the right panel makes as well.

    Raises: ValueError where a call of the right returns other shapes than that of the left.
    """
    right = right_calls(name, run)
    names = [n for n, call in run.calls.items() if n in right and call.module and call.outputs]
    for call in names:
        shapes = [[a.shape for a in c.outputs.values()] for c in (run.calls[call], right[call])]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{name}: {call} returns {shapes[0]} on the left, {shapes[1]} right")
    return names


def right_calls(name: str, run: FlowRun) -> dict[str, Call]:
    """The calls of the right panel's run of the same loss that the left makes too, by name."""
    model, batch, noise = panel(name, "right")
    names, paths = TorchNames(model), {path for path, _ in run.model.named_modules()}
    methods = {
        (path, method)
        for path, module in names.modules.items()
        if path in paths
        for method in public_methods(module, nn.Module)
    }
    batch, noise = (to_tensors(value, torch.device("cpu"), track=False) for value in (batch, noise))
    with torch.no_grad(), TorchTrace(names.modules, methods) as trace:
        model.loss(batch, noise)
    return trace.calls


def _agreement(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    return (
        f"The right panel was traced on the same batch: the {total} calls of modules that both "
        "panels make return arrays of the same shapes."
    )


def _variant(name: str) -> str:
    return name.partition("[")[2].removesuffix("]") or "default"
