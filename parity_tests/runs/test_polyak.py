"""Averaged weights: their numbers, who sees them, and that a run with them goes on bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.short_runs import (
    arrays_of,
    assert_same_arrays,
    killed_and_resumed,
    short_run,
    without_times,
)
from torch import nn

import numpy_ref.nn.averaging
import torch_impl.nn.averaging
from diptych import data
from diptych.arrays import to_numpy
from diptych.files import load_arrays
from diptych.panels import BACKENDS
from diptych.parity.measures.rows import normwise
from diptych.runs.folder import RunFolder, read_metrics
from diptych.tasks import make_task
from diptych.training.train import build, train
from diptych.weights import to_arrays
from model_specs.common.key import Key
from numpy_ref.nn.module import Module, Parameter

SHAPES = {"weight": (5, 3), "bias": (5,), "scalar": ()}
each_backend = pytest.mark.parametrize("backend", BACKENDS)
DECAY = 0.9


def parameters(backend, start):
    if backend == "numpy":
        return {name: Parameter(np.array(array)) for name, array in start.items()}
    return {name: nn.Parameter(torch.tensor(array)) for name, array in start.items()}


def average_of(backend, named, decay=DECAY):
    module = numpy_ref.nn.averaging if backend == "numpy" else torch_impl.nn.averaging
    return module.PolyakAverage(named.items(), decay)


def write(parameter, array):
    parameter.data[...] = array if isinstance(parameter, Parameter) else torch.as_tensor(array)


def values(named):
    return {name: to_numpy(p.data).copy() for name, p in named.items()}


@each_backend
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.998])
def test_the_average_is_the_weighted_sum_of_the_weights_after_each_step(backend, decay, rng):
    """decay^T p_0 + (1 - decay) sum_t decay^(T - t) p_t, summed directly."""
    history = [{n: rng.normal(size=s) for n, s in SHAPES.items()} for _ in range(21)]
    named = parameters(backend, history[0])
    average = average_of(backend, named, decay)
    assert_same_arrays(to_arrays(average.state_dict()), history[0])
    for now in history[1:]:
        for name, parameter in named.items():
            write(parameter, now[name])
        average.update()
    weights = [decay**20] + [(1 - decay) * decay ** (20 - t) for t in range(1, 21)]
    assert sum(weights) == pytest.approx(1, rel=1e-14)  # so nothing is to be corrected for
    for name, array in to_arrays(average.state_dict()).items():
        want = sum(w * now[name] for w, now in zip(weights, history, strict=True))
        assert normwise(array, want) <= 1e-14, name


@each_backend
def test_applied_puts_the_averages_in_place_and_the_weights_back(backend, rng):
    start = {n: rng.normal(size=s) for n, s in SHAPES.items()}
    named = parameters(backend, start)
    average = average_of(backend, named)
    own = {n: rng.normal(size=s) for n, s in SHAPES.items()}
    for name, parameter in named.items():
        write(parameter, own[name])
        parameter.grad = parameter.data + 1
    average.update()
    means = to_arrays(average.state_dict())
    assert all((means[n] != own[n]).all() for n in SHAPES)
    grads = {name: p.grad for name, p in named.items()}
    with average.applied():
        assert_same_arrays(values(named), means)
        with pytest.raises(KeyError), average.applied():
            assert_same_arrays(values(named), means)
            raise KeyError
        assert_same_arrays(values(named), means)  # the inner one did not end it
        assert_same_arrays(to_arrays(average.state_dict()), means)
    assert_same_arrays(values(named), own)
    with pytest.raises(ZeroDivisionError), average.applied():
        raise ZeroDivisionError
    assert_same_arrays(values(named), own)
    assert_same_arrays(to_arrays(average.state_dict()), means)
    assert all(named[name].grad is grad for name, grad in grads.items())


@each_backend
def test_applied_twice_at_a_time_ends_with_the_last(backend, rng):
    """Two generators may do this, of which the first ends first."""
    named = parameters(backend, {"a": rng.normal(size=3)})
    average = average_of(backend, named)
    means = to_arrays(average.state_dict())
    write(named["a"], own := rng.normal(size=3))
    first, second = average.applied(), average.applied()
    first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    np.testing.assert_array_equal(values(named)["a"], means["a"])
    second.__exit__(None, None, None)
    np.testing.assert_array_equal(values(named)["a"], own)


@each_backend
def test_a_tied_weight_is_averaged_once(backend):
    class Left(Module):
        def __init__(self) -> None:
            self.first = self.second = Parameter(np.ones(3))

    class Right(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = nn.Parameter(torch.ones(3, dtype=torch.float64))

    model = Left() if backend == "numpy" else Right()
    average = average_of(backend, dict(model.named_parameters()))
    write(model.second, 2 * np.ones(3))
    average.update()
    (result,) = to_arrays(average.state_dict()).values()
    np.testing.assert_allclose(result, 0.9 + 0.1 * 2, rtol=1e-15)
    with average.applied():
        np.testing.assert_allclose(to_numpy(model.second.data), result, rtol=0)


@each_backend
def test_state_moves_and_what_does_not_fit_is_refused(backend, rng):
    named = parameters(backend, {n: rng.normal(size=s) for n, s in SHAPES.items()})
    average = average_of(backend, named)
    other = {n: rng.normal(size=s) for n, s in SHAPES.items()}
    average.load_state_dict(other)
    assert_same_arrays(to_arrays(average.state_dict()), other)
    del other["bias"]
    with pytest.raises(ValueError, match="average: missing bias; unexpected stranger"):
        average.load_state_dict(other | {"stranger": np.ones(2)})
    for decay in (1.0, -0.1, float("nan"), True):
        with pytest.raises(ValueError, match="decay: got"):
            average_of(backend, named, decay)


# In a run


@pytest.mark.parametrize("optimizer", ["adamax", "rmsprop"])
def test_a_hundred_steps_end_in_the_same_weights_and_averages(tmp_path, optimizer):
    """The averages follow the whole trajectory of the weights."""
    digits = data.load("digits")
    run = {"optimizer": optimizer, "polyak": 0.95, "dtype": "float64", "epochs": 5}
    run |= {"batch_size": 64, "clip": 50.0, "log_every": 1}
    left, right = (
        train(short_run(backend=backend, **run), digits, tmp_path / backend) for backend in BACKENDS
    )
    assert left.steps == right.steps >= 100
    for ours, theirs in zip(arrays_of(left.folder), arrays_of(right.folder), strict=True):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert normwise(array, theirs[name]) <= 1e-10, name
    logs = [[line for line in o.folder.metrics if line["kind"] == "epoch"] for o in (left, right)]
    for a, b in zip(*logs, strict=True):
        for name, value in a["valid"].items():
            assert value == pytest.approx(b["valid"][name], rel=1e-10)


@each_backend
def test_evaluations_samples_and_files_take_the_averages(few_digits, tmp_path, backend):
    run = short_run(backend=backend, polyak=0.95, optimizer="adamax", epochs=2)
    outcome = train(run, few_digits, tmp_path / "run")
    panel, (last, checkpoint) = outcome.panel, arrays_of(outcome.folder)
    raw = panel.weights()
    last = {name: last[name] for name in raw}  # a file sorts them
    for name, array in raw.items():
        np.testing.assert_array_equal(checkpoint[f"model.{name}"], array)
        np.testing.assert_array_equal(checkpoint[f"average.{name}"], last[name])
    assert all((last[name] != raw[name]).any() for name in last)
    with panel.evaluating():
        assert_same_arrays(panel.weights(), last)
        with panel.evaluating():
            assert_same_arrays(panel.weights(), last)
        assert_same_arrays(panel.weights(), last)
    assert_same_arrays(panel.weights(), raw)
    task = make_task(run, few_digits)
    result = task.validate(panel)
    plain = build(run)  # what evaluation builds: it keeps no average
    plain.load_weights(raw)
    assert task.validate(plain) != result
    plain.load_weights(last)
    assert task.validate(plain) == result == outcome.folder.metrics[-1]["valid"]
    best = load_arrays(outcome.folder.best_file)[0]
    best_epoch = min(
        (line for line in outcome.folder.metrics if line["kind"] == "epoch"),
        key=lambda line: line["valid"]["total"],
    )
    plain.load_weights(best)
    assert task.validate(plain) == best_epoch["valid"]
    plain.load_weights(last)
    with panel.evaluating(), plain.evaluating():
        samples = [to_numpy(p.model.sample(Key(1), 2)) for p in (panel, plain)]
    np.testing.assert_array_equal(*samples)


@each_backend
@pytest.mark.parametrize(("optimizer", "steps"), [("adamax", 3), ("adamax", 7), ("rmsprop", 7)])
def test_killed_and_resumed_with_averages_is_uninterrupted(
    few_digits, tmp_path, monkeypatch, backend, optimizer, steps
):
    run = short_run(backend=backend, optimizer=optimizer, polyak=0.8, binarize=True)
    resumed, whole = killed_and_resumed(monkeypatch, run, few_digits, tmp_path, steps)
    best = [load_arrays(outcome.folder.best_file)[0] for outcome in (resumed, whole)]
    assert_same_arrays(*best)
    logs = [without_times(read_metrics(o.folder.metrics_file)) for o in (resumed, whole)]
    assert logs[0] == logs[1]


def test_a_run_keeps_its_decay(few_digits, tmp_path):
    run = short_run(epochs=1, polyak=0.9)
    train(run, few_digits, tmp_path / "run")
    assert RunFolder(tmp_path / "run").config().polyak == 0.9
    with pytest.raises(ValueError, match=r"polyak was 0\.9, now None"):
        train(short_run(epochs=1), few_digits, tmp_path / "run", resume=True)
    for polyak in (1.0, -0.5, float("nan"), "half"):
        with pytest.raises(ValueError, match="polyak: got"):
            short_run(polyak=polyak)


@each_backend
def test_averages_of_a_panel_that_keeps_none_are_refused(backend):
    panel = build(short_run(backend=backend))
    assert panel.average_state() == {}
    panel.load_average({})
    with pytest.raises(ValueError, match="average: unexpected weight"):
        panel.load_average({"weight": np.ones(2)})


def test_a_step_left_out_in_mixed_precision_does_not_move_the_average():
    panel = build(short_run(amp="fp16"))
    panel.keep_average(0.9)
    x = np.full((4, 64), 0.5, np.float32)
    averages = []
    for scale in (1.0, 2.0**40, 1.0):  # gradients overflow float16 at the second one
        panel._scaler.load_state_dict(panel._scaler.state_dict() | {"scale": scale})
        panel.forward_backward(x, panel.model.draw_noise(Key(1), 4))
        panel.step(0.1, None)
        averages.append(panel.average_state())
    assert panel.steps == 2
    assert_same_arrays(averages[1], averages[0])
    assert any((a != averages[1][name]).any() for name, a in averages[2].items())
