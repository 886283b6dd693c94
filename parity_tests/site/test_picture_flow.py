"""The data flow of a model: its arrows are what a changed value changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diptych import pairs
from diptych.arrays import map_arrays
from diptych.parity.running.numpy_trace import has_vjp
from diptych.site.pictures.dataflow import figure
from diptych.site.pictures.dataflow.boxes import flow_graph
from diptych.site.pictures.dataflow.graph import FlowGraph
from diptych.site.pictures.dataflow.provenance import origins_of, outputs_of
from diptych.site.pictures.dataflow.tracing import FlowTrace, panel, run_flow

NAMES = ["mlp_vae", "mlp_vae[sampled]", "conv_vae", "rnn", "lstm[variational_recurrent]"]
NAMES += ["vlae", "vlae[stacks]"]  # in each box every output depends on every input


class ChangingTrace(FlowTrace):
    """A trace that adds noise to the outputs of one call."""

    def __init__(self, modules: dict[str, Any], changed: str) -> None:
        super().__init__(modules)
        self.changed, self.generator = changed, np.random.default_rng(0)

    def _record(self, call: Any, original: Any, *arguments: Any) -> Any:
        result = super()._record(call, original, *arguments)
        if call.name != self.changed:
            return result
        noise = self.generator.uniform(0.5, 1.0)
        value, *vjp = result if has_vjp(result) else (result,)
        value = map_arrays(lambda a: a * (1 + noise) + noise, value)
        return (value, *vjp) if vjp else value


def inputs_of_calls(name: str, changed: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs of every call, and the loss terms, with the outputs of one call changed."""
    model, batch, noise = panel(name, "left")
    trace = ChangingTrace(dict(model.named_modules()), changed)
    with trace.functions_of(model), trace:
        model.loss(outputs_of("", batch, "0"), outputs_of("", noise, "1"))
    terms = {f"output{leaf}": array for leaf, array in trace.calls["loss"].outputs.items()}
    return {call: c.inputs for call, c in trace.calls.items()}, terms


def reached(graph: FlowGraph, start: str) -> set[str]:
    """The boxes to which a way leads from `start`."""
    result: set[str] = set()
    while more := {
        a.target for a in graph.arrows if a.source in result | {start} and a.target not in result
    }:
        result |= more
    return result


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_output_changes_the_inputs_of_exactly_the_boxes_that_arrows_lead_to(
    name: str,
) -> None:
    graph = flow_graph(run_flow(name))
    plain, terms = inputs_of_calls(name)
    for start, box in graph.boxes.items():
        if box.kind != "call":
            continue
        other, other_terms = inputs_of_calls(name, start.split(" | ")[-1])
        differ = {
            target
            for target, b in graph.boxes.items()
            if b.kind == "call" and not _equal(plain, other, target.split(" | ")[0])
        }
        differ |= {
            term
            for term in graph.boxes
            if term in terms and not np.array_equal(terms[term], other_terms[term])
        }
        assert differ == reached(graph, start), start


def _equal(plain: dict[str, Any], other: dict[str, Any], call: str) -> bool:
    return all(np.array_equal(array, other[call][n]) for n, array in plain[call].items())


@pytest.mark.parametrize("name", NAMES)
def test_arrows_carry_the_shapes_that_parity_records(name: str) -> None:
    run = run_flow(name)
    graph = flow_graph(run)
    for arrow in graph.arrows:
        source = arrow.source.split(" | ")[-1]
        outputs = run.calls[source].outputs if source in run.calls else run.calls["loss"].inputs
        shapes = {" × ".join(map(str, a.shape)) or "scalar" for a in outputs.values()}
        for _, shape in arrow.arrays:
            assert shape.split(" → ")[0] in shapes, arrow


def test_chains_that_keep_their_shape_share_a_box_and_frames_hold_the_rest() -> None:
    graph = flow_graph(run_flow("mlp_vae"))
    rows = [[row.label for row in box.rows] for box in graph.boxes.values()]
    assert ["Linear", "ReLU"] in rows
    assert {row.label for row, _ in graph.frames.values()} == {
        "encode",
        "decode",
        "LogvarPosterior",
    }


def test_variants_are_drawn_once_for_each_way_to_connect_their_calls() -> None:
    html = figure.data_flow("mlp_vae").html
    values = [part.split('"')[0] for part in html.split('value="')[1:]]
    assert values == ["mlp_vae", "mlp_vae[sampled]", "mlp_vae[deterministic]"]


def test_a_model_without_latent_shows_neither_encoder_nor_kl() -> None:
    run = run_flow("vlae[unconditional]")
    boxes = flow_graph(run).boxes
    assert not [name for name in boxes if "encoder.blocks" in name]


def test_both_panels_make_the_calls_and_a_different_shape_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_flow("conv_vae")
    names = figure.shared_calls("conv_vae", run)
    assert {"encoder.0", "decoder.9", "mu", "logvar"} <= set(names)
    right = figure.right_calls("conv_vae", run)
    right["mu"].outputs = {"": np.zeros((7, 6))}
    monkeypatch.setattr(figure, "right_calls", lambda *_: right)
    with pytest.raises(ValueError, match="conv_vae: mu returns"):
        figure.shared_calls("conv_vae", run)


def test_origins_follow_operations_views_and_functions_but_not_shapes() -> None:
    a = outputs_of("f", (np.ones((2, 3)), np.ones(3)), "")
    x, y = a
    assert origins_of(x.reshape(3, 2)[0] * 2) == {("f", "[0]")}
    assert origins_of(np.concatenate((x, y[None]))) == {("f", "[0]"), ("f", "[1]")}
    assert origins_of((x @ y).sum()) == {("f", "[0]"), ("f", "[1]")}
    assert origins_of(np.zeros_like(x)) == frozenset()
    assert origins_of(np.ones(3)) == frozenset()


def test_tracing_leaves_the_panels_functions_as_they_were() -> None:
    import numpy_ref.mlp_vae  # noqa: PLC0415

    before = numpy_ref.mlp_vae.gaussian_kl
    run_flow("mlp_vae")
    assert numpy_ref.mlp_vae.gaussian_kl is before


def test_every_model_of_the_registry_has_its_data_flow() -> None:
    for model in pairs.PAIRS:
        graph = flow_graph(run_flow(model))
        ends = {name for name, box in graph.boxes.items() if box.kind == "output"}
        assert "output.total" in ends
