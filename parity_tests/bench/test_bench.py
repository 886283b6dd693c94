"""The benchmarks of the recurrent pairs: every way does the work that its name says."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from helpers.sequence_cases import CELLS, TOLERANCE

from diptych import bench, pairs
from diptych.arrays import map_arrays, to_numpy
from diptych.bench import recurrent
from diptych.bench.recurrent import OPERATIONS, PLAIN
from diptych.parity.report import normwise

SIZE = "H 5, T 4, batch 3"
FIELDS = {
    "rnn": {"input_dim": 7, "output_dim": 8, "hidden_dim": 5, "seq_len": 4, "weight_std": 0.5},
    "lstm": {"vocab_size": 8, "embedding_dim": 6, "hidden_dim": 5, "seq_len": 4},
}
NOISE = {"none": {}, "per_step": {"scheme": "per_step", "rate": 0.4}}


@pytest.fixture
def made(monkeypatch):
    """make(cell, noise) registers one small size; the models that a workload builds are kept."""
    result = {}

    def keep(name, build):
        def kept(*arguments, **keywords):
            result[name] = build(*arguments, **keywords)
            return result[name]

        return kept

    def make(cell, noise="per_step", **changes):
        pair = pairs.get(cell)
        config = type(pair.variants[""])(**FIELDS[cell] | {"num_layers": 2} | NOISE[noise])
        changes |= {"left": keep("numpy", pair.left), "right": keep("torch cpu", pair.right)}
        small = dataclasses.replace(pair, sizes={SIZE: (config, 3)}, **changes)
        monkeypatch.setitem(pairs.PAIRS, cell, small)
        monkeypatch.setattr(recurrent, "Plain", keep(PLAIN, recurrent.Plain))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        return result

    return make


def gradients(model):
    """By the names that the panels have; the plain module calls its parts otherwise."""
    if not isinstance(model, torch.nn.Module):
        return {name: gradient.copy() for name, gradient in model.gradients().items()}
    body = type(getattr(model, "body", None)).__name__.lower()  # of torch.nn.LSTM or RNN
    names = {"body": body, "output": "decoder"}
    result = {}
    for name, parameter in model.named_parameters():
        first, _, rest = name.partition(".")
        gradient = 0 * parameter if parameter.grad is None else parameter.grad
        result[f"{names.get(first, first)}.{rest}"] = to_numpy(gradient)
    return result


def apart(ours, theirs):
    assert ours.keys() == theirs.keys()
    return max(normwise(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("cell", CELLS)
def test_a_pair_has_its_sizes_and_pieces_of_work(cell):
    assert (
        bench.operations(cell)
        == OPERATIONS
        == ("gradients", "step", "recurrent body", "output layer")
    )
    for config, batch_size in pairs.get(cell).sizes.values():
        assert batch_size > 1 and config.seq_len > 1
    assert bench.operations("mlp_vae") == ("forward", "gradients", "step")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("work", OPERATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_way_leaves_finite_gradients_where_it_should(made, cell, work, dtype):
    models = made(cell)
    load = bench.workload(cell, SIZE, dtype, work)
    assert load.name == f"{SIZE} {dtype} {work}"
    assert list(load.runs) == list(models) == ["numpy", "torch cpu", PLAIN]
    touched = {"recurrent body": {cell}, "output layer": {"decoder"}}
    for name, run in load.runs.items():
        run()
        run()
        for path, gradient in gradients(models[name]).items():
            assert gradient.dtype == dtype and np.isfinite(gradient).all(), (name, path)
            first = path.partition(".")[0]
            assert gradient.any() == (first in touched.get(work, {first})), (name, path)


@pytest.mark.parametrize("work", OPERATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_both_panels_are_timed_at_the_same_work(made, monkeypatch, cell, work):
    """The same weights, batch and masks: the same gradients, and after a step the same weights.

    Twice: gradients that are added to those of the call before would be more work.
    """
    monkeypatch.setattr(recurrent, "CLIP", 0.5)
    models = made(cell)
    for run in list(bench.workload(cell, SIZE, "float64", work).runs.values())[:2]:
        run(), run()
    left, right = models["numpy"], models["torch cpu"]
    assert apart(gradients(left), gradients(right)) <= TOLERANCE
    start = pairs.get(cell).left(left.config, recurrent.KEY).state_dict()
    weights = {name: to_numpy(array) for name, array in right.state_dict().items()}
    assert apart(left.state_dict(), weights) <= TOLERANCE
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients(left).values()))
    assert (norm <= 0.5) == (work == "step"), "the clip, or a gradient that it would not touch"
    assert (apart(start, weights) > 1e-6) == (work == "step")


@pytest.mark.parametrize("cell", CELLS)
def test_the_plain_module_does_what_the_pair_does(made, cell):
    """Without dropout and from the zero state, which is where the plain module starts."""
    batch = pairs.get(cell).batch

    def zero(*arguments):
        result = batch(*arguments)
        return result._replace(state=map_arrays(np.zeros_like, result.state))

    models = made(cell, "none", batch=zero)
    runs = bench.workload(cell, SIZE, "float64", "gradients").runs
    plain, left = models[PLAIN], models["numpy"]
    names = gradients(plain).keys()
    state = {name: torch.from_numpy(left.state_dict()[name]) for name in names}
    with torch.no_grad():
        for name, parameter in zip(names, plain.parameters(), strict=True):
            parameter.copy_(state[name])
    for run in runs.values():
        run(), run()  # a call leaves the gradients of one loss, not of all so far
    for model in (models["torch cpu"], plain):
        assert apart(gradients(left), gradients(model)) <= TOLERANCE


@pytest.mark.parametrize("cell", CELLS)
def test_the_plain_module_drops_where_the_pair_does(made, monkeypatch, cell):
    """At L + 1 places: into the first layer, out of the last, and, by torch's own, in between."""
    models, dropped = made(cell), []
    runs = bench.workload(cell, SIZE, "float64", "gradients").runs
    dropout = recurrent.F.dropout

    def recorded(x, rate):
        dropped.append((tuple(x.shape), rate))
        return dropout(x, rate)

    monkeypatch.setattr(recurrent.F, "dropout", recorded)
    runs[PLAIN]()
    masks = models["numpy"].draw_noise(recurrent.KEY, 3).inputs
    assert dropped == [(masks[0].shape, 0.4), (masks[-1].shape, 0.4)] and len(masks) == 3
    assert models[PLAIN].body.dropout == 0.4 and models[PLAIN].body.num_layers == 2


def test_masks_are_drawn_anew_in_every_call(made, monkeypatch):
    """By all three, as in training."""
    models = made("lstm")
    runs = bench.workload("lstm", SIZE, "float64", "gradients").runs
    counted = []
    for name in ("numpy", "torch cpu"):
        draw = type(models[name]).draw_noise
        monkeypatch.setattr(
            type(models[name]), "draw_noise", lambda *a, _d=draw: counted.append(1) or _d(*a)
        )
    runs["numpy"](), runs["numpy"](), runs["torch cpu"](), runs["torch cpu"]()
    assert len(counted) == 4
    result = []
    for _ in range(2):
        runs[PLAIN]()
        result.append(gradients(models[PLAIN])["lstm.weight_ih_l0"])
    assert not np.array_equal(*result)


@pytest.mark.parametrize("cell", CELLS)
def test_the_command_tells_every_way_and_its_ratio_to_the_plain_module(
    made, run, tmp_path, cell, monkeypatch
):
    made(cell)
    monkeypatch.setattr(bench, "CALLS", 1)
    record = tmp_path / "speed.json"
    status, out, _ = run("bench", cell, "--rounds", 2, "--record", record)
    assert status == 0 and "gradients" in out
    metrics = json.loads(record.read_text())["metrics"]
    assert metrics.pop("rounds") == 2 and metrics.pop("threads") >= 1
    assert metrics.pop("base") == PLAIN
    assert set(metrics) == {f"{SIZE} {d} {w}" for d in ("float64", "float32") for w in OPERATIONS}
    for ways in metrics.values():
        assert set(ways) == {"numpy", "torch cpu", PLAIN}
        assert all(way["ms"] > 0 and math.isfinite(way["ratio"]) for way in ways.values())
        assert ways[PLAIN]["ratio"] == 1


def test_a_way_that_takes_longer_has_a_ratio_above_1():
    """The median of the rounds' ratios, which is not the ratio of the medians."""
    times = {"numpy": [0.002, 0.012, 0.005], PLAIN: [0.001, 0.003, 0.005]}
    result = bench._medians(times, PLAIN)
    assert result["numpy"] == pytest.approx({"ms": 5, "ratio": 2})
    assert result[PLAIN] == pytest.approx({"ms": 3, "ratio": 1})


@pytest.mark.parametrize(("seconds", "calls"), [(1e-6, bench.CALLS), (1e6, 1)])
def test_the_ways_take_turns_and_a_slow_one_has_short_ones(monkeypatch, seconds, calls):
    order = []
    monkeypatch.setattr(bench, "_seconds", lambda run: run() or seconds)
    runs = {name: lambda n=name: order.append(n) for name in "ab"}
    times = bench.interleaved(runs, rounds=2)
    warmed = 1 + calls
    assert order == (["a"] * warmed + ["b"] * warmed) * 5  # three rounds are not counted
    assert times == {"a": [seconds] * 2, "b": [seconds] * 2}
