"""Learning-rate schedules: torch.optim.lr_scheduler's, the papers' words, and literal rates."""

import pytest
import torch
from helpers.golden_values import RATES
from helpers.short_runs import short_run

from diptych.panels import BACKENDS
from diptych.runs import schedules
from diptych.runs.config import SCHEDULES, RunConfig
from diptych.training.step import training_step
from diptych.training.train import train
from model_specs.common.effects import effective


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda e: schedules.step_lr(0.1, e, every=4, gamma=0.3),
            lambda o: torch.optim.lr_scheduler.StepLR(o, 4, 0.3),
        ),
        (
            lambda e: schedules.multi_step_lr(0.1, e, milestones=[3, 7], gamma=0.3),
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 7], 0.3),
        ),
        (
            lambda e: schedules.exponential_lr(0.1, e, gamma=0.9),
            lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        ),
        (
            lambda e: schedules.cosine_lr(0.1, e, epochs=12, lr_min=1e-3),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 12, 1e-3),
        ),
    ],
)
def test_schedules_are_torchs(ours, theirs):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = theirs(optimizer)
    for epoch in range(12):
        # torch multiplies the rate up epoch by epoch; the closed form rounds once
        assert ours(epoch) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-14)
        optimizer.step(), scheduler.step()


@pytest.mark.parametrize(
    ("constant_epochs", "gamma", "rates"),
    [
        # "lr 1 for 4 epochs, then halved with each one", and the medium model's 6, then / 1.2
        (4, 0.5, [1, 1, 1, 1, 0.5, 0.25, 0.125]),
        (6, 1 / 1.2, [1, 1, 1, 1, 1, 1, 1 / 1.2, 1 / 1.44]),
        (0, 0.5, [0.5, 0.25]),
    ],
)
def test_constant_then_decay_lr_is_the_schedule_in_words(constant_epochs, gamma, rates):
    assert [
        schedules.constant_then_decay_lr(1.0, e, constant_epochs=constant_epochs, gamma=gamma)
        for e in range(len(rates))
    ] == (pytest.approx(rates, rel=1e-15))


@pytest.mark.parametrize(("schedule", "epochs"), RATES)
def test_the_rates_of_a_run_are_the_literal_sequence(schedule, epochs):
    """Also for numbers of epochs whose milestones are no whole epochs."""
    settings = {"schedule": schedule, "epochs": epochs, "constant_epochs": 3, "decay": 0.5}
    settings = effective(RunConfig, settings)
    for lr in (1.0, 0.25):
        run = short_run(lr=lr, **settings)
        rates = [run.lr_at(epoch) for epoch in range(epochs)]
        expected = [lr * rate for rate in RATES[schedule, epochs]]
        assert rates == pytest.approx(expected, rel=1e-14)


def test_every_schedule_has_a_literal_sequence():
    assert {schedule for schedule, _ in RATES} == set(SCHEDULES)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_epoch_is_trained_with_its_own_rate(few_digits, tmp_path, monkeypatch, backend):
    """Every step passes lr_at(its epoch), counted from 0, and the metrics have the same rate."""
    rates = []

    def step(panel, batch, lr, clip=None):
        rates.append(lr)
        return training_step(panel, batch, lr, clip)

    monkeypatch.setattr("diptych.training.trainer.training_step", step)
    run = short_run(backend=backend, lr=0.25, schedule="step", epochs=7)
    outcome = train(run, few_digits, tmp_path / "run")
    expected = [0.25 * rate for rate in RATES["step", 7]]
    assert rates == [rate for rate in expected for _ in range(3)]
    lines = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
    assert [line["lr"] for line in lines] == expected
    assert [line["epoch"] for line in lines] == list(range(7))
