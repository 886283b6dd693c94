"""Batches and steps of the exercises: the same on both panels, and those of the project's runs."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.panels_for_exercises import (
    CONV,
    KEY,
    LSTM,
    MLP,
    RNN,
    TEXT,
    VLAE,
    assert_close,
    batch_for_loss,
    build_panel,
    each_backend,
    each_config,
    each_text_config,
    images,
    tokens,
)

from diptych import data
from diptych.exercises import fit, gradient_norm, minibatches, training_step
from diptych.panels import BACKENDS
from diptych.runs.config import RunConfig
from diptych.tasks import make_task
from diptych.training.train import NonFiniteError, build
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig

# Batches


@pytest.mark.parametrize("count, sizes", [(10, [4, 4, 2]), (8, [4, 4]), (3, [3]), (1, [1])])
def test_each_example_is_in_one_batch(count, sizes):
    x = np.arange(2.0 * count).reshape(count, 2)
    batches = list(minibatches(build_panel(MLP, "numpy"), x, 4, KEY, 0))
    assert [len(batch) for batch in batches] == sizes
    together = np.concatenate(batches)
    np.testing.assert_array_equal(together[np.argsort(together[:, 0])], x)


@each_backend
def test_the_order_is_addressed_by_epoch(backend):
    panel, x = build_panel(MLP, backend), np.arange(50.0)
    orders = [np.concatenate(list(minibatches(panel, x, 7, KEY, epoch))) for epoch in (3, 0, 3)]
    np.testing.assert_array_equal(orders[0], orders[2])
    assert (orders[0] != orders[1]).any() and (orders[0] != x).any()
    other = np.concatenate(list(minibatches(panel, x, 7, Key(62), 3)))
    assert (orders[0] != other).any()


@pytest.mark.parametrize("n", [1, 2, 97, 1000])
def test_both_panels_draw_the_same_order(n):
    orders = [build_panel(MLP, backend).permutation(KEY.fold_in(n), n) for backend in BACKENDS]
    assert all(order.dtype == np.int64 for order in orders)
    np.testing.assert_array_equal(*orders)
    np.testing.assert_array_equal(np.sort(orders[0]), np.arange(n))


@each_backend
def test_the_order_is_that_of_the_projects_runs(backend):
    digits = data.load("digits")
    fields = vars(MLPVAEConfig(64))
    config = RunConfig("mlp_vae", fields, "digits", batch_size=500, seed=5, backend=backend)
    panel, task = build(config), make_task(config, digits)
    for i, batch in enumerate(minibatches(panel, digits.train.x, 500, Key(5), epoch=2)):
        np.testing.assert_array_equal(batch, task.batch(panel, 2, i))


@each_text_config
def test_a_text_is_read_in_contiguous_pieces(config):
    """33 words in 3 pieces of 11: two windows of 5, each word's target is the word after it."""
    panel, stream = build_panel(config, "numpy"), tokens(33)
    windows = list(minibatches(panel, stream, 3, KEY, 0))
    x, y = (np.concatenate([np.asarray(getattr(w, part)) for w in windows]) for part in ("x", "y"))
    x = x.argmax(-1) if config is RNN else x  # one-hot
    np.testing.assert_array_equal(x.T, stream.reshape(3, 11)[:, :10])
    np.testing.assert_array_equal(y.T, stream.reshape(3, 11)[:, 1:])
    assert all(not state.any() for window in windows for state in window.state)


@pytest.mark.parametrize(
    "config, arguments, message",
    [
        (MLP, (np.zeros((0, 13)), 4, KEY, 0), r"x: got shape \(0, 13\)"),
        (MLP, (np.zeros((2, 13)), 0, KEY, 0), "batch_size: got 0"),
        (MLP, (np.zeros((2, 13)), 4, KEY, -1), "epoch: got -1"),
        (MLP, (tokens(20), 4, KEY, 0), "x: got dtype int64, .*: mlp_vae takes images"),
        (VLAE, (tokens(20), 4, KEY, 0), "x: got dtype int64, .*: vlae takes images"),
        (LSTM, (np.zeros((9, 13)), 1, KEY, 0), r"x: got float64 \(9, 13\), lstm takes a stream"),
        (RNN, (np.zeros(30), 1, KEY, 0), r"x: got float64 \(30,\), rnn takes a stream of token"),
        (LSTM, (tokens(20), 4, KEY, 0), "tokens: got 20, takes 24 or more"),
        (
            dataclasses.replace(RNN, likelihood="squared_error"),
            (tokens(90), 4, KEY, 0),
            "panel: got rnn with a loss that is no log-likelihood, .*: likelihood 'cross_entropy'",
        ),
    ],
)
def test_bad_batches_are_refused_before_the_first(config, arguments, message):
    panel = build_panel(config, "numpy")
    with pytest.raises(ValueError, match=message):
        minibatches(panel, *arguments)
    if not message.startswith("epoch"):
        with pytest.raises(ValueError, match=message):
            fit(panel, arguments[0], KEY, epochs=1, batch_size=arguments[1], lr=1e-3)


# A step


@each_config
def test_a_step_is_the_same_on_both_panels(config):
    results, ends = [], []
    for backend in BACKENDS:
        panel = build_panel(config, backend, "sgd")
        results.append(training_step(panel, batch_for_loss(config, panel, 5), KEY, 1e-2, clip=0.5))
        ends.append(panel.weights())
    assert_close(results[0].terms, results[1].terms)
    assert results[0].grad_norm == pytest.approx(results[1].grad_norm, rel=1e-13)
    assert_close(ends[0], ends[1])
    assert (results[0].state is None) == (config not in TEXT.values())


@each_backend
def test_a_step_takes_numbers_as_well_as_symbols(backend):
    """An RNN of numbers has no stream of tokens, but its batches are batches."""
    config = dataclasses.replace(RNN, likelihood="squared_error")
    panel = build_panel(config, backend)
    step = training_step(panel, batch_for_loss(config, panel, 5), KEY, 1e-3)
    assert step.grad_norm > 0 and list(step.terms) == ["total", "error"]


@each_backend
@pytest.mark.parametrize("config", [MLP, LSTM], ids=["mlp", "lstm"])
@pytest.mark.parametrize("clip", [None, 0.3, 1e6])
def test_a_step_goes_as_far_as_lr_and_clip_say(config, backend, clip):
    """SGD moves by lr min(|g|, clip), and the reported norm is that before clipping."""
    panel = build_panel(config, backend, "sgd")
    before = panel.weights()
    step = training_step(panel, batch_for_loss(config, panel, 5), KEY, 0.05, clip)
    moves = [after - before[name] for name, after in panel.weights().items()]
    distance = np.sqrt(sum((move**2).sum() for move in moves))
    assert step.grad_norm > 0.5
    assert distance == pytest.approx(0.05 * min(step.grad_norm, clip or np.inf), rel=1e-5)


@pytest.mark.parametrize("config", [CONV, LSTM], ids=["conv", "lstm"])
def test_the_norm_is_torchs(config):
    panel = build_panel(config, "torch")
    batch = batch_for_loss(config, panel, 3)
    panel.forward_backward(batch, panel.model.draw_noise(KEY, 3))
    norm = gradient_norm(panel)
    witness = torch.nn.utils.clip_grad_norm_(panel.model.parameters(), 1e9).item()
    assert norm == pytest.approx(witness, rel=1e-13)


@each_backend
def test_a_step_is_in_training_mode_and_leaves_the_mode(backend):
    panel = build_panel(CONV, backend)
    panel.model.eval()
    before = panel.weights()
    training_step(panel, images(CONV, 3), KEY, 1e-3)
    assert not panel.model.training
    after = panel.weights()["encoder.3.running_mean"]
    assert (after != before["encoder.3.running_mean"]).all()


@each_backend
def test_a_step_of_a_text_draws_its_masks_in_training_mode(backend):
    """The loss of the step is that with dropout, whatever the mode was."""
    panel = build_panel(LSTM, backend)
    batch = batch_for_loss(LSTM, panel, 5)
    with_dropout = panel.terms(batch, panel.model.draw_noise(KEY.fold_in("noise"), 5))
    panel.model.eval()
    without = panel.terms(batch, panel.model.draw_noise(KEY.fold_in("noise"), 5))
    step = training_step(panel, batch, KEY, 1e-3)
    assert step.terms == pytest.approx(with_dropout, rel=1e-13)
    assert abs(without["total"] - step.terms["total"]) > 1e-3


@each_backend
def test_terms_are_per_example(backend):
    terms = [
        training_step(
            build_panel(dataclasses.replace(MLP, reduction=r), backend),
            images(MLP, 5),
            KEY,
            1e-3,
        )
        for r in ("mean", "sum")
    ]
    assert_close(terms[0].terms, terms[1].terms)


@each_backend
def test_a_diverged_step_is_named_and_moves_nothing(backend):
    panel = build_panel(dataclasses.replace(MLP, likelihood="gaussian"), backend)
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
        training_step(build_panel(MLP, backend), images(MLP, 2), KEY, lr, clip)
