"""Batches, steps and the loop: both panels alike, to the weights that the project's runs end in."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from helpers.exercise_panels import (
    CONV,
    KEY,
    MLP,
    assert_close,
    each_backend,
    each_config,
    images,
    make,
)
from helpers.run_folders import arrays_of

from diptych import data, pairs
from diptych.data import Split
from diptych.exercises import fit, gradient_norm, minibatches, training_step
from diptych.panels import BACKENDS
from diptych.parity.report import normwise
from diptych.runs.config import RunConfig
from diptych.tasks import make_task
from diptych.training.train import NonFiniteError, build, train
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import optim

# Batches


@pytest.mark.parametrize("count, sizes", [(10, [4, 4, 2]), (8, [4, 4]), (3, [3]), (1, [1])])
def test_each_example_is_in_one_batch(count, sizes):
    x = np.arange(2.0 * count).reshape(count, 2)
    batches = list(minibatches(x, 4, KEY, 0))
    assert [len(batch) for batch in batches] == sizes
    together = np.concatenate(batches)
    np.testing.assert_array_equal(together[np.argsort(together[:, 0])], x)


def test_the_order_is_addressed_by_epoch():
    x = np.arange(50)
    orders = [np.concatenate(list(minibatches(x, 7, KEY, epoch))) for epoch in (3, 0, 3)]
    np.testing.assert_array_equal(orders[0], orders[2])
    assert (orders[0] != orders[1]).any() and (orders[0] != x).any()
    other = np.concatenate(list(minibatches(x, 7, Key(62), 3)))
    assert (orders[0] != other).any()


def test_the_order_is_that_of_the_projects_runs():
    digits = data.load("digits")
    config = RunConfig("mlp_vae", vars(MLPVAEConfig(64)), "digits", batch_size=500, seed=5)
    task = make_task(config, digits)
    for i, batch in enumerate(minibatches(digits.train.x, 500, Key(5), epoch=2)):
        np.testing.assert_array_equal(batch, task.batch(2, i))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros((0, 3)), 4, KEY, 0), r"x: got shape \(0, 3\)"),
        ((np.zeros((2, 3)), 0, KEY, 0), "batch_size: got 0"),
        ((np.zeros((2, 3)), 4, KEY, -1), "epoch: got -1"),
    ],
)
def test_bad_batches_are_refused_before_the_first(arguments, message):
    with pytest.raises(ValueError, match=message):
        minibatches(*arguments)


# A step


@each_config
def test_a_step_is_the_same_on_both_panels(config):
    x, result, ends = images(config, 5), [], []
    for backend in BACKENDS:
        panel = make(config, backend, "sgd")
        result.append(training_step(panel, x, KEY, 1e-2, clip=0.5))
        ends.append(panel.weights())
    assert_close(result[0].terms, result[1].terms)
    assert result[0].grad_norm == pytest.approx(result[1].grad_norm, rel=1e-13)
    assert_close(ends[0], ends[1])


@each_backend
@pytest.mark.parametrize("clip", [None, 0.3, 1e6])
def test_a_step_goes_as_far_as_lr_and_clip_say(backend, clip):
    """SGD moves by lr min(|g|, clip), and the norm told is that before clipping."""
    panel = make(MLP, backend, "sgd")
    before = panel.weights()
    step = training_step(panel, images(MLP, 5), KEY, 0.05, clip)
    moves = [after - before[name] for name, after in panel.weights().items()]
    moved = np.sqrt(sum((move**2).sum() for move in moves))
    assert step.grad_norm > 0.5
    assert moved == pytest.approx(0.05 * min(step.grad_norm, clip or np.inf), rel=1e-5)


def test_the_norm_is_torchs():
    panel = make(CONV, "torch")
    panel.forward_backward(images(CONV, 3), panel.model.draw_noise(KEY, 3))
    norm = gradient_norm(panel)
    witness = torch.nn.utils.clip_grad_norm_(panel.model.parameters(), 1e9).item()
    assert norm == pytest.approx(witness, rel=1e-13)


@each_backend
def test_a_step_is_in_training_mode_and_leaves_the_mode(backend):
    panel = make(CONV, backend)
    panel.model.eval()
    before = panel.weights()
    training_step(panel, images(CONV, 3), KEY, 1e-3)
    assert not panel.model.training
    after = panel.weights()["encoder.3.running_mean"]
    assert (after != before["encoder.3.running_mean"]).all()


@each_backend
def test_terms_are_per_example(backend):
    terms = [
        training_step(
            make(dataclasses.replace(MLP, reduction=r), backend), images(MLP, 5), KEY, 1e-3
        )
        for r in ("mean", "sum")
    ]
    assert_close(terms[0].terms, terms[1].terms)


@each_backend
def test_a_diverged_step_is_named_and_moves_nothing(backend):
    panel = make(dataclasses.replace(MLP, likelihood="gaussian"), backend)
    broken = panel.weights()
    broken["decoder_logits.bias"][...] = 1e200
    panel.load_weights(broken)
    with pytest.raises(NonFiniteError, match=r"^loss term total is inf, recon is inf$"):
        training_step(panel, images(MLP, 5), KEY, 1e-3)
    for name, array in panel.weights().items():
        np.testing.assert_array_equal(array, broken[name])
    with pytest.raises(NonFiniteError, match=r"^step 0: loss term total is inf"):
        fit(panel, images(MLP, 5), KEY, epochs=1, batch_size=2, lr=1e-3)


@each_backend
@pytest.mark.parametrize(
    "lr, clip, message",
    [(0, None, "lr: got 0"), (1e-3, 0, "clip: got 0"), (1e-3, -1.0, "clip")],
)
def test_bad_rates_are_refused(backend, lr, clip, message):
    with pytest.raises(ValueError, match=message):
        training_step(make(MLP, backend), images(MLP, 2), KEY, lr, clip)


# The loop


RUNS = {
    "mlp_vae": ("digits", MLPVAEConfig(64, 9, 2, init="torch"), 3.5),
    "conv_vae": ("digits16", dataclasses.replace(CONV, in_channels=1), 0.6),
}


@each_backend
@pytest.mark.parametrize("model", RUNS)
def test_fit_ends_in_the_weights_of_a_run(tmp_path, model, backend):
    """The weights of a run of diptych.training, bit for bit; two batches and an odd last one."""
    name, config, clip = RUNS[model]
    whole = data.load(name)
    some = dataclasses.replace(whole, train=Split(whole.train.x[:70], whole.train.y[:70]))
    settings = {"epochs": 4, "batch_size": 32, "lr": 1e-2, "clip": clip, "schedule": "cosine"}
    run = RunConfig(model, vars(config), name, backend=backend, seed=7, log_every=1, **settings)
    outcome = train(run, some, tmp_path)
    panel = build(run)
    history = fit(
        panel,
        pairs.get(model).to_batch(config, some.train.x, some.image_shape),
        Key(7),
        epochs=4,
        batch_size=32,
        lr=1e-2,
        schedule=partial(optim.cosine_lr, epochs=4),
        clip=clip,
    )
    weights, _ = arrays_of(outcome.folder)
    for name, array in panel.weights().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
    logged = [line for line in outcome.folder.metrics if line["kind"] == "step"]
    for term in ("total", "recon", "kl"):
        np.testing.assert_array_equal(history.terms[term], [line[term] for line in logged])
    assert history.epoch.tolist() == [e for e in range(4) for _ in range(3)]
    np.testing.assert_array_equal(history.lr, [run.lr_at(epoch) for epoch in history.epoch])
    assert (history.grad_norm > clip).any() and (history.grad_norm < clip).any(), "clip must matter"


def test_fit_is_the_same_on_both_panels():
    """In batches of 6, 6 and 4: normalised over 2 values, both are 1 off their mean whatever the
    weights, and Adam makes whole steps of the gradients' rounding."""
    for config in (MLP, CONV):
        panels = [make(config, backend) for backend in BACKENDS]
        result = [
            fit(panel, images(config, 16), KEY, epochs=9, batch_size=6, lr=2e-2, clip=1.0)
            for panel in panels
        ]
        assert_close(result[0].terms, result[1].terms, 1e-10)
        assert normwise(result[0].grad_norm, result[1].grad_norm) <= 1e-10
        assert_close(panels[0].weights(), panels[1].weights(), 1e-10)
        assert result[0].terms["total"][-3:].mean() < result[0].terms["total"][:3].mean()


def test_a_schedule_that_is_none_is_refused():
    with pytest.raises(ValueError, match="schedule: got 'cosine', takes a function"):
        fit(
            make(MLP, "numpy"), images(MLP, 3), KEY, epochs=1, batch_size=2, lr=1, schedule="cosine"
        )
