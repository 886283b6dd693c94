"""Training of a model that initialises its weights by the first batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.short_runs import arrays_of, assert_same_arrays, killed_and_resumed, short_run

from diptych.arrays import to_numpy
from diptych.pairs import Traits
from diptych.panels import BACKENDS
from diptych.panels.ranks import Ranks
from diptych.parity.measures.rows import normwise
from diptych.tasks import make_task
from diptych.training.train import Trainer, build, train
from model_specs.common.key import Key
from numpy_ref.mlp_vae import MLPVAE as Left
from torch_impl.mlp_vae import MLPVAE as Right

each_backend = pytest.mark.parametrize("backend", BACKENDS)


def initialize(model, x, noise):
    """Scale the first layer to variance 1 over the batch, and shift its biases by the noise."""
    layer = model.encoder_hidden
    assert not torch.is_grad_enabled() or isinstance(x, np.ndarray)
    h = x @ layer.weight.data.T
    scale = ((h - h.mean(0)) ** 2).mean(0) ** 0.5
    layer.weight.data[...] = layer.weight.data / (scale[:, None] + 0.01)
    layer.bias.data[...] = layer.bias.data + noise.eps.mean()
    model.batches = [*getattr(model, "batches", ()), (to_numpy(x), to_numpy(noise.eps))]


@pytest.fixture
def history(monkeypatch):
    """(weights, averages, step) of a run before each of its steps."""
    result = []
    for model in (Left, Right):
        monkeypatch.setattr(model, "initialize", initialize, raising=False)
    step = Trainer.step

    def watched(trainer):
        panel = trainer.panel
        result.append((panel.weights(), panel.average_state(), trainer.position.step))
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", watched)
    return result


def test_both_panels_begin_with_the_same_weights(few_digits, tmp_path, history):
    """The averages begin as copies of these weights."""
    runs = [
        short_run(backend=b, dtype="float64", polyak=0.9, epochs=1, binarize=True) for b in BACKENDS
    ]
    outcomes = [train(run, few_digits, tmp_path / run.backend) for run in runs]
    firsts = [(weights, means) for weights, means, step in history if step == 0]
    assert len(firsts) == 2
    for (weights, means), run in zip(firsts, runs, strict=True):
        plain = build(run).weights()  # without initialisation
        assert (weights["encoder_hidden.weight"] != plain["encoder_hidden.weight"]).all()
        assert (weights["encoder_hidden.bias"] != plain["encoder_hidden.bias"]).all()
        np.testing.assert_array_equal(weights["posterior.mu.bias"], plain["posterior.mu.bias"])
        assert_same_arrays({name: means[name] for name in weights}, weights)
    for name, array in firsts[0][0].items():
        assert normwise(array, firsts[1][0][name]) <= 1e-13, name
    for ours, theirs in zip(*(arrays_of(o.folder) for o in outcomes), strict=True):
        for name, array in ours.items():
            assert normwise(array, theirs[name]) <= 1e-10, name


@each_backend
def test_the_first_batch_initialises_once(few_digits, tmp_path, history, backend):
    run = short_run(backend=backend, binarize=True)
    panel = train(run, few_digits, tmp_path / "run").panel
    ((x, eps),) = panel.model.batches
    task, key = make_task(run, few_digits), Key(run.seed).fold_in(0)
    want = task.prepare(panel, task.batch(panel, 0, 0), key, None)
    np.testing.assert_array_equal(x, want)
    noise = panel.model.draw_noise(key.fold_in("initialize"), len(want))
    np.testing.assert_array_equal(eps, to_numpy(noise.eps))


@each_backend
@pytest.mark.parametrize("steps", [1, 5])
def test_a_resumed_run_is_not_initialised_again(
    few_digits, tmp_path, monkeypatch, history, backend, steps
):
    """Unless it was killed before its first checkpoint. Either way it ends in the same weights."""
    run = short_run(backend=backend, polyak=0.9)
    resumed, _ = killed_and_resumed(monkeypatch, run, few_digits, tmp_path, steps)
    assert len(getattr(resumed.panel.model, "batches", ())) == (steps == 1)


@each_backend
def test_a_model_without_initialize_is_not_changed(few_digits, tmp_path, monkeypatch, backend):
    run = short_run(backend=backend)
    panel = build(run)
    before = panel.weights()
    panel.initialize(few_digits.train.x[:4], panel.model.draw_noise(Key(1), 4))
    assert_same_arrays(panel.weights(), before)


def test_a_loss_of_the_whole_batch_is_refused_on_several_ranks(few_digits, tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.panels.right.DistributedDataParallel", lambda loss: loss)
    monkeypatch.setattr("diptych.pairs.traits", lambda config: Traits(divisible=False))
    with pytest.raises(ValueError, match="ranks: got 2, mlp_vae with this config is trained"):
        train(short_run(), few_digits, tmp_path / "run", ranks=Ranks(0, 2))
    assert not (tmp_path / "run").exists()
    assert train(short_run(epochs=1), few_digits, tmp_path / "run").steps == 3
