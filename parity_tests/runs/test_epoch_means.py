"""The lines of metrics.jsonl: every loss per example, and epoch means weighted by batch size."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.short_runs import KillAt, KilledError, short_run
from helpers.small_text_runs import BOTH, make_corpus, make_run

from diptych.evaluation import elbo
from diptych.panels import BACKENDS
from diptych.runs.folder import read_metrics
from diptych.tasks import make_task
from diptych.training.train import build, train

each_backend = pytest.mark.parametrize("backend", BACKENDS)
SIZES = (32, 32, 6)
"""Batches of the 70 digits: the last one is odd, and weighs less."""


def step_lines(folder):
    return [line for line in read_metrics(folder.metrics_file) if line["kind"] == "step"]


def epoch_lines(folder):
    return [line for line in read_metrics(folder.metrics_file) if line["kind"] == "epoch"]


def check_epoch_means(folder, sizes):
    """Compare each epoch's means with its logged steps, weighted by the sizes of their batches."""
    steps, epochs = step_lines(folder), epoch_lines(folder)
    assert len(steps) == len(sizes) * len(epochs)
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    for i, line in enumerate(epochs):
        own = steps[i * len(sizes) : (i + 1) * len(sizes)]
        assert {step["epoch"] for step in own} == {line["epoch"]} == {i}
        assert line["step"] == own[-1]["step"] and line["train"].keys() < own[0].keys()
        for name, mean in line["train"].items():
            values = [step[name] for step in own]
            assert mean == pytest.approx(np.average(values, weights=sizes), rel=1e-13)
            if len(set(sizes)) > 1:
                assert mean != pytest.approx(np.mean(values), rel=1e-6), "the test cannot fail"


@each_backend
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_an_epoch_weighs_its_batches_by_their_size(few_digits, tmp_path, backend, reduction):
    run = short_run(backend=backend, epochs=3, dtype="float64")
    run.model_config["reduction"] = reduction
    outcome = train(run, few_digits, tmp_path / "run")
    check_epoch_means(outcome.folder, SIZES)


@each_backend
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_step_logs_the_loss_before_it_per_example(few_digits, tmp_path, backend, reduction):
    """Of its own batch and noise, at the weights of the steps before."""
    run = short_run(backend=backend, epochs=1, dtype="float64")
    run.model_config["reduction"] = reduction
    panel, task = build(run), make_task(run, few_digits)
    expected = []
    for step, size in enumerate(SIZES):
        batch = task.training_batch(panel, step)
        assert (batch.size, len(batch.inputs), batch.units) == (size, size, size)
        terms, _ = panel.forward_backward(batch.inputs, batch.noise)
        expected.append({n: v / (size if reduction == "sum" else 1) for n, v in terms.items()})
        panel.step(run.lr, None)
    outcome = train(run, few_digits, tmp_path / "run")
    for line, terms in zip(step_lines(outcome.folder), expected, strict=True):
        for name, value in terms.items():
            assert line[name] == pytest.approx(value, rel=1e-12)


@each_backend
def test_the_sums_of_an_epoch_survive_an_interruption(few_digits, tmp_path, monkeypatch, backend):
    """Killed after the second step of the second epoch, whose means count all of its steps."""
    run = short_run(backend=backend, epochs=3, checkpoint_every=1)
    with monkeypatch.context() as patch:
        KillAt(patch, 5)
        with pytest.raises(KilledError):
            train(run, few_digits, tmp_path / "run")
    outcome = train(run, few_digits, tmp_path / "run", resume=True)
    check_epoch_means(outcome.folder, SIZES)


@pytest.mark.parametrize(("cell", "backend"), BOTH)
def test_the_means_of_a_text_are_over_its_windows(tmp_path, cell, backend):
    run = make_run(cell, make_corpus(), backend=backend, epochs=2)
    outcome = train(run, make_corpus(), tmp_path / "run")
    windows = outcome.steps // 2
    check_epoch_means(outcome.folder, [3] * windows)


@each_backend
def test_the_validation_loss_weighs_its_parts_by_their_size(few_digits, backend):
    """The mean over 11 images is the same in parts of any size, the last of them smaller."""
    run = short_run(backend=backend, dtype="float64")
    panel, task = build(run), make_task(run, few_digits)
    x = task.examples(panel, task.held_out("valid"))[:11]
    key = task.key.fold_in("validation")
    whole = elbo.elbo_terms(panel, x, key)
    noise = panel.model.draw_noise(key, 11)
    with panel.evaluating():
        assert whole == pytest.approx(panel.terms(x, noise), rel=1e-13)
    for size in (1, 3, 4, 10):
        assert elbo.elbo_terms(panel, x, key, batch_size=size) == pytest.approx(whole, rel=1e-13)
    assert task.validate(panel).keys() == whole.keys()
