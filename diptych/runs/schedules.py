"""Learning-rate schedules: pure functions of the first learning rate and the epoch, counted from 0.

>>> [constant_then_decay_lr(1.0, epoch, constant_epochs=2, gamma=0.5) for epoch in range(4)]
[1.0, 1.0, 0.5, 0.25]
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def constant_lr(lr: float, epoch: int) -> float:
    """Return lr for every epoch."""
    return lr


def step_lr(lr: float, epoch: int, *, every: int, gamma: float) -> float:
    """lr gamma^(epoch div every).   Source: torch.optim.lr_scheduler.StepLR."""
    return lr * gamma ** (epoch // every)


def multi_step_lr(lr: float, epoch: int, *, milestones: Sequence[int], gamma: float) -> float:
    """lr gamma^(milestones passed).   Source: torch.optim.lr_scheduler.MultiStepLR."""
    return lr * gamma ** sum(epoch >= milestone for milestone in milestones)


def exponential_lr(lr: float, epoch: int, *, gamma: float) -> float:
    """lr gamma^epoch.   Source: torch.optim.lr_scheduler.ExponentialLR."""
    return lr * gamma**epoch


def constant_then_decay_lr(lr: float, epoch: int, *, constant_epochs: int, gamma: float) -> float:
    """lr for the first `constant_epochs` epochs, then multiplied by gamma at each epoch.

        lr gamma^max(0, epoch + 1 - constant_epochs)

    Source: the schedule of Zaremba et al. (2014).
    """
    return lr * gamma ** max(0, epoch + 1 - constant_epochs)


def cosine_lr(lr: float, epoch: int, *, epochs: int, lr_min: float = 0.0) -> float:
    """lr_min + (lr - lr_min)(1 + cos(pi epoch / epochs)) / 2.

    Source: Loshchilov & Hutter (2017), one period; torch.optim.lr_scheduler.CosineAnnealingLR.
    """
    return lr_min + (lr - lr_min) * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
