"""Learning-rate schedules, compared with torch.optim.lr_scheduler and with the papers' words."""

import pytest
import torch

from diptych.runs import schedules


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
