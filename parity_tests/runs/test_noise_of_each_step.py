"""What the loss of each training step gets at random: noise, pixels, order and sequences.

Every model on both panels. None of it comes twice in a run, and all of it is a function of the
run's seed and the step.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from helpers import plain_random, small_image_runs
from helpers.short_runs import short_run
from helpers.small_text_runs import make_corpus, make_run

from diptych import data, pairs
from diptych.arrays import leaves, map_arrays, to_numpy
from diptych.panels import BACKENDS
from diptych.tasks import make_task
from diptych.training.presets import settings
from diptych.training.train import build, train
from model_specs.common.key import Key

SEED = 3
EPOCHS = 2
DROPOUT = {"scheme": "variational_recurrent", "rate": 0.4, "hidden_dim": 20}
"""Masks of 60 units or more do not coincide by chance."""
VLAE = {"maps": 2, "hidden_dim": 6, "latent_dim": 3, "decoder_maps": 4, "masked_layers": 2}
VLAE |= {"flow_hidden_dim": 8, "flow_steps": 1}


def mlp_vae(few_digits, backend, seed):
    run = short_run(backend=backend, epochs=EPOCHS, binarize=True, seed=seed)
    run.model_config["samples"] = 2
    return run, few_digits


def conv_vae(_, backend, seed):
    images = small_image_runs.dataset((1, 16, 16))
    options = {"epochs": EPOCHS, "backend": backend, "binarize": True, "seed": seed}
    return small_image_runs.config_for(images, **options), images


def vlae(_, backend, seed):
    images = small_image_runs.dataset((1, 5, 4))
    options = {"epochs": EPOCHS, "backend": backend, "binarize": True, "seed": seed}
    options |= {"batch_size": 10, "dtype": "float64"}
    return settings("vlae", images.name, images, None, VLAE, options), images


def rnn(_, backend, seed):
    corpus = make_corpus()
    return make_run("rnn", corpus, DROPOUT, backend=backend, epochs=EPOCHS, seed=seed), corpus


def lstm(_, backend, seed):
    corpus, fields = make_corpus(), DROPOUT | {"word_rate": 0.3, "embedding_dim": 20}
    return make_run("lstm", corpus, fields, backend=backend, epochs=EPOCHS, seed=seed), corpus


RUNS = {make.__name__: make for make in (mlp_vae, conv_vae, vlae, rnn, lstm)}
each_run = pytest.mark.parametrize(("model", "backend"), list(itertools.product(RUNS, BACKENDS)))


def recorded(monkeypatch, run, dataset, folder):
    """(batch, noise) of each loss that is computed in training mode during a run, as arrays."""
    pair = pairs.get(run.model)
    model = pair.left if run.backend == "numpy" else pair.right
    original, calls = model.loss, []

    def loss(self, batch, noise):
        if self.training:
            calls.append(tuple(map_arrays(to_numpy, part) for part in (batch, noise)))
        return original(self, batch, noise)

    with monkeypatch.context() as patch:
        patch.setattr(model, "loss", loss)
        steps = train(run, dataset, folder).steps
    assert len(calls) == steps >= 4
    return calls


def as_bytes(value):
    return b"".join(array.tobytes() for _, array in leaves(value))


@each_run
def test_no_noise_comes_twice(few_digits, tmp_path, monkeypatch, model, backend):
    """Not in the steps of one epoch, not in another epoch, not with another seed."""
    noises = []
    for seed in (SEED, SEED + 1):
        run, dataset = RUNS[model](few_digits, backend, seed)
        calls = recorded(monkeypatch, run, dataset, tmp_path / str(seed))
        noises += [noise for _, noise in calls]
    for parts in zip(*(leaves(noise) for noise in noises), strict=True):
        name = parts[0][0]
        assert len({array.tobytes() for _, array in parts}) == len(noises), name


@each_run
def test_the_noise_of_a_step_is_named_by_seed_and_step(
    few_digits, tmp_path, monkeypatch, model, backend
):
    """Key(seed) / step / "noise", steps counted through all epochs; both panels alike."""
    run, dataset = RUNS[model](few_digits, backend, SEED)
    panel = build(run)
    for step, (_, noise) in enumerate(recorded(monkeypatch, run, dataset, tmp_path / "run")):
        key = Key(SEED).fold_in(step).fold_in("noise")
        size = len(noise.eps) if hasattr(noise, "eps") else noise.inputs[0].shape[1]
        expected = map_arrays(to_numpy, panel.model.draw_noise(key, size))
        assert as_bytes(noise) == as_bytes(expected), step


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_epoch_has_its_own_order(few_digits, monkeypatch, tmp_path, backend):
    """Key(seed) / "order" / epoch, for all images of the training set."""
    run = short_run(backend=backend, epochs=3, seed=SEED, dtype="float64")
    batches = [x for x, _ in recorded(monkeypatch, run, few_digits, tmp_path / "run")]
    orders = []
    for epoch in range(3):
        order = plain_random.permutation(Key(SEED).fold_in("order").fold_in(epoch), 70)
        x = np.concatenate(batches[3 * epoch : 3 * epoch + 3])
        np.testing.assert_array_equal(x, few_digits.train.x[order])
        orders.append(order.tolist())
    assert len(set(map(tuple, orders))) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_pixels_are_drawn_anew_at_every_step(few_digits, monkeypatch, tmp_path, backend):
    """Key(seed) / step / "binarize": 1 where the uniform number is below the grey value."""
    one_batch = dataclasses.replace(
        few_digits, train=data.Split(few_digits.train.x[:6], few_digits.train.y[:6])
    )
    run = short_run(backend=backend, epochs=4, binarize=True, seed=SEED)
    batches = [x for x, _ in recorded(monkeypatch, run, one_batch, tmp_path / "run")]
    for step, x in enumerate(batches):
        order = plain_random.permutation(Key(SEED).fold_in("order").fold_in(step), 6)
        u = plain_random.uniform(Key(SEED).fold_in(step).fold_in("binarize"), x.shape)
        np.testing.assert_array_equal(x, u < one_batch.train.x[order])


@pytest.mark.parametrize("name", ["copy:9:2", "adding:8"])
def test_each_step_of_a_memory_task_has_sequences_of_its_own(name):
    task = data.load(name)
    run = settings("rnn", name, task, None, {}, {"batch_size": 4, "seed": SEED})
    steps, panel = make_task(run, task), build(run)
    batches = [steps.training_batch(panel, step).inputs for step in (0, 1, 99, 100, 101)]
    rows = np.concatenate([batch.x.swapaxes(0, 1).reshape(4, -1) for batch in batches])
    assert len(np.unique(rows, axis=0)) >= 18  # two short sequences may coincide
