"""The training loop of the exercises ends in the weights that the project's own runs end in."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from helpers.panels_for_exercises import (
    CONV,
    KEY,
    LSTM,
    MLP,
    RNN,
    TEXT,
    VLAE,
    assert_close,
    build_panel,
    dataset,
    each_backend,
    images,
)
from helpers.short_runs import arrays_of
from helpers.small_text_runs import make_corpus

from diptych import data, pairs
from diptych.data import Split
from diptych.exercises import fit
from diptych.panels import BACKENDS, make_panel
from diptych.parity.measures.rows import normwise
from diptych.runs import schedules
from diptych.runs.config import RunConfig
from diptych.training.train import build, train
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig

IMAGE_RUNS = {
    "mlp_vae": ("digits", MLPVAEConfig(64, 9, 2, init="torch"), 3.5),
    "conv_vae": ("digits16", dataclasses.replace(CONV, in_channels=1), 0.6),
    "vlae": ("binary_digits", dataclasses.replace(VLAE, height=8, width=8), 66.0),
}


def fitted_like(run, x, clip):
    """(panel, history) of the exercise with the settings of a run of three steps an epoch."""
    panel = build(run)
    history = fit(
        panel,
        x,
        Key(run.seed),
        epochs=4,
        batch_size=run.batch_size,
        lr=1e-2,
        schedule=partial(schedules.cosine_lr, epochs=4),
        clip=clip,
    )
    return panel, history


def assert_same_run(panel, history, outcome, run):
    """The same weights and loss terms, bit for bit."""
    weights, _ = arrays_of(outcome.folder)
    for name, array in panel.weights().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
    logged = [line for line in outcome.folder.metrics if line["kind"] == "step"]
    for term, values in history.terms.items():
        np.testing.assert_array_equal(values, [line[term] for line in logged])
    assert history.epoch.tolist() == [e for e in range(4) for _ in range(3)]
    np.testing.assert_array_equal(history.lr, [run.lr_at(epoch) for epoch in history.epoch])
    norms = history.grad_norm
    assert (norms > run.clip).any() and (norms < run.clip).any(), f"clip must matter: {norms}"


@each_backend
@pytest.mark.parametrize("model", IMAGE_RUNS)
def test_fit_ends_in_the_weights_of_a_run_on_images(tmp_path, model, backend):
    """Two batches and an odd last one; the VLAE initialises its weights by the first batch."""
    name, config, clip = IMAGE_RUNS[model]
    whole = data.load(name)
    some = dataclasses.replace(whole, train=Split(whole.train.x[:70], whole.train.y[:70]))
    settings = {"epochs": 4, "batch_size": 32, "lr": 1e-2, "clip": clip, "schedule": "cosine"}
    run = RunConfig(model, vars(config), name, backend=backend, seed=7, log_every=1, **settings)
    outcome = train(run, some, tmp_path)
    x = pairs.get(model).to_batch(config, some.train.x, some.image_shape)
    assert_same_run(*fitted_like(run, x, clip), outcome, run)


@each_backend
@pytest.mark.parametrize("model", TEXT)
def test_fit_ends_in_the_weights_of_a_run_on_text(tmp_path, model, backend):
    """With dropout, and the state carried from window to window of an epoch."""
    corpus, clip = make_corpus(train=51), {"rnn": 3.5, "lstm": 1.94}[model]
    settings = {"epochs": 4, "batch_size": 3, "lr": 1e-2, "clip": clip, "schedule": "cosine"}
    fields = vars(TEXT[model])
    run = RunConfig(model, fields, "toy", backend=backend, seed=7, log_every=1, **settings)
    outcome = train(run, corpus, tmp_path)
    assert_same_run(*fitted_like(run, corpus.train, clip), outcome, run)


@pytest.mark.parametrize("config", [MLP, CONV, RNN, LSTM], ids=["mlp", "conv", "rnn", "lstm"])
def test_fit_is_the_same_on_both_panels(config):
    """Images in batches of 6, 6 and 4: normalised over 2 values, both are 1 off their mean whatever
    the weights, and Adam makes whole steps of the gradients' rounding."""
    panels = [build_panel(config, backend) for backend in BACKENDS]
    result = [
        fit(panel, dataset(config, 16), KEY, epochs=9, batch_size=6, lr=2e-2, clip=1.0)
        for panel in panels
    ]
    assert_close(result[0].terms, result[1].terms, 1e-10)
    assert normwise(result[0].grad_norm, result[1].grad_norm) <= 1e-10
    assert_close(panels[0].weights(), panels[1].weights(), 1e-10)
    assert result[0].terms["total"][-3:].mean() < result[0].terms["total"][:3].mean()


@each_backend
def test_a_second_fit_goes_on_from_the_first(backend):
    """It initialises nothing again: the weights after it are near those before."""
    panel = make_panel("vlae", VLAE, backend, key=KEY, dtype="float64")
    options = {"epochs": 1, "batch_size": 4, "lr": 1e-9}
    first = panel.weights()
    fit(panel, images(VLAE, 8), KEY, **options)
    middle = panel.weights()
    fit(panel, images(VLAE, 8)[::-1], Key(1), **options)
    last = panel.weights()
    assert max(np.abs(middle[n] - first[n]).max() for n in first) > 0.1
    assert max(np.abs(last[n] - middle[n]).max() for n in first) < 1e-6


def test_a_schedule_that_is_none_is_refused():
    with pytest.raises(ValueError, match="schedule: got 'cosine', takes a function"):
        fit(
            build_panel(MLP, "numpy"),
            images(MLP, 3),
            KEY,
            epochs=1,
            batch_size=2,
            lr=1,
            schedule="cosine",
        )
