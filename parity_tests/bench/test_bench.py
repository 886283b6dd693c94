"""Benchmarks of the recurrent pairs: every backend does the operation that is timed."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.small_text_runs import CELLS, TOLERANCE

from diptych import bench, pairs
from diptych.arrays import to_numpy
from diptych.bench import case as cases
from diptych.bench import plain, recurrent, steps
from diptych.bench.case import KEY
from diptych.bench.plain_steps import NAME as PLAIN
from diptych.bench.recurrent import PARTS
from diptych.parity.measures.rows import normwise

OPERATIONS = (*steps.OPERATIONS, *PARTS)
BACKENDS = ("numpy", "torch", PLAIN)

SIZE = "H 5, T 4, batch 3"
FIELDS = {
    "rnn": {"input_dim": 7, "output_dim": 8, "hidden_dim": 5, "seq_len": 4, "weight_std": 0.5},
    "lstm": {"vocab_size": 8, "embedding_dim": 6, "hidden_dim": 5, "seq_len": 4},
}
NOISE = {"none": {}, "per_step": {"scheme": "per_step", "rate": 0.4}}


@pytest.fixture
def small_pair(monkeypatch):
    """small_pair(cell) registers a small size; returns the models that workloads build, by name."""
    models = {}

    def record(name, build):
        def build_recorded(*arguments, **keywords):
            models[name] = build(*arguments, **keywords)
            return models[name]

        return build_recorded

    def make(cell, noise="per_step", **changes):
        pair = pairs.get(cell)
        config = type(pair.variants[""])(**FIELDS[cell] | {"num_layers": 2} | NOISE[noise])
        changes |= {"left": record("numpy", pair.left), "right": record("torch", pair.right)}
        small = dataclasses.replace(pair, sizes={SIZE: (config, 3)}, **changes)
        monkeypatch.setitem(pairs.PAIRS, cell, small)
        recorded = record(PLAIN, plain.PlainRecurrent)
        monkeypatch.setitem(plain.PLAIN, cell, recorded)
        monkeypatch.setattr(recurrent, "PlainRecurrent", recorded)
        return models

    return make


def build(cell, operation, dtype="float64"):
    """The callables of one operation of the small case, by backend."""
    case = bench.Case(cell, SIZE, 3, dtype)
    return {name: bench.build(case, operation, name) for name in BACKENDS}


def gradients(model):
    """Return gradients by the parameter names of the panels, also of the plain module."""
    if not isinstance(model, torch.nn.Module):
        return {name: gradient.copy() for name, gradient in model.gradients().items()}
    body = type(getattr(model, "body", None)).__name__.lower()  # of torch.nn.LSTM or RNN
    names = {"body": body, "output": "decoder"}
    gradients = {}
    for name, parameter in model.named_parameters():
        first, _, rest = name.partition(".")
        gradient = 0 * parameter if parameter.grad is None else parameter.grad
        gradients[f"{names.get(first, first)}.{rest}"] = to_numpy(gradient)
    return gradients


def largest_error(a, b):
    assert a.keys() == b.keys()
    return max(normwise(a[name], b[name]) for name in a)


@pytest.mark.parametrize("cell", CELLS)
def test_a_recurrent_pair_has_sizes_and_operations(cell):
    assert bench.operations(cell) == OPERATIONS
    assert OPERATIONS == ("forward", "gradients", "step", "recurrent body", "output layer")
    for config, batch_size in pairs.get(cell).sizes.values():
        assert batch_size > 1 and config.seq_len > 1
    assert bench.operations("mlp_vae") == ("forward", "gradients", "step")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("operation", OPERATIONS[1:])
@pytest.mark.parametrize("cell", CELLS)
def test_every_backend_computes_the_gradients_of_its_operation(small_pair, cell, operation, dtype):
    models = small_pair(cell)
    differentiated = {"recurrent body": {cell}, "output layer": {"decoder"}}
    for name in BACKENDS:
        run = bench.build(bench.Case(cell, SIZE, 3, dtype), operation, name)
        run()
        run()
        for path, gradient in gradients(models[name]).items():
            assert gradient.dtype == dtype and np.isfinite(gradient).all(), (name, path)
            first = path.partition(".")[0]
            assert gradient.any() == (first in differentiated.get(operation, {first})), (name, path)


@pytest.mark.parametrize("operation", OPERATIONS[1:])
@pytest.mark.parametrize("cell", CELLS)
def test_both_panels_compute_the_same(small_pair, monkeypatch, cell, operation):
    """Two calls give the same gradients and weights on both panels.

    Two calls, because gradients must not be added to those of the call before.
    """
    monkeypatch.setitem(cases.RECIPES, cell, cases.RECIPES[cell]._replace(clip=0.5))
    models = small_pair(cell)
    for name in ("numpy", "torch"):
        run = bench.build(bench.Case(cell, SIZE, 3, "float64"), operation, name)
        run(), run()
    left, right = models["numpy"], models["torch"]
    assert largest_error(gradients(left), gradients(right)) <= TOLERANCE
    start = pairs.get(cell).left(left.config, KEY).state_dict()
    weights = {name: to_numpy(array) for name, array in right.state_dict().items()}
    assert largest_error(left.state_dict(), weights) <= TOLERANCE
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients(left).values()))
    assert (norm <= 0.5) == (operation == "step"), (
        "only the step clips, and the gradient exceeds 0.5"
    )
    assert (largest_error(start, weights) > 1e-6) == (operation == "step")


@pytest.mark.parametrize("cell", CELLS)
def test_the_plain_module_computes_the_gradients_of_the_pair(small_pair, cell):
    """Without dropout."""
    models = small_pair(cell, "none")
    for name in BACKENDS:
        run = bench.build(bench.Case(cell, SIZE, 3, "float64"), "gradients", name)
        run(), run()  # gradients are not added up over calls
        assert largest_error(gradients(models["numpy"]), gradients(models[name])) <= TOLERANCE


@pytest.mark.parametrize("cell", CELLS)
def test_the_plain_module_has_dropout_where_the_pair_does(small_pair, monkeypatch, cell):
    """Before the first layer, after the last one, and, by torch's own dropout, in between."""
    models, calls = small_pair(cell), []
    runs = build(cell, "gradients")
    dropout = plain.F.dropout

    def recorded(x, rate):
        calls.append((tuple(x.shape), rate))
        return dropout(x, rate)

    monkeypatch.setattr(plain.F, "dropout", recorded)
    runs[PLAIN]()
    masks = models["numpy"].draw_noise(KEY, 3).inputs
    assert calls == [(masks[0].shape, 0.4), (masks[-1].shape, 0.4)] and len(masks) == 3
    assert models[PLAIN].body.dropout == 0.4 and models[PLAIN].body.num_layers == 2


def test_every_call_draws_new_masks(small_pair, monkeypatch):
    """All three backends do, as in training."""
    models = small_pair("lstm")
    runs = build("lstm", "gradients")
    draws = []
    for name in ("numpy", "torch"):
        draw = type(models[name]).draw_noise
        monkeypatch.setattr(
            type(models[name]), "draw_noise", lambda *a, _d=draw: draws.append(1) or _d(*a)
        )
    runs["numpy"](), runs["numpy"](), runs["torch"](), runs["torch"]()
    assert len(draws) == 4
    plain_gradients = []
    for _ in range(2):
        runs[PLAIN]()
        plain_gradients.append(gradients(models[PLAIN])["lstm.weight_ih_l0"])
    assert not np.array_equal(*plain_gradients)
