"""The settings of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from diptych import pairs
from diptych.panels import BACKENDS, OPTIMIZERS
from diptych.panels.engine import AMP, Engine
from diptych.runs import schedules
from model_specs.common.fields import check_choice, check_positive_int, check_rate, check_real

SCHEDULES = ("constant", "cosine", "step", "exponential", "constant-then-decay")
FIXED_SCHEDULES = ("constant", "constant-then-decay")
"""Schedules whose learning rates do not depend on the number of epochs."""


@dataclass(frozen=True)
class RunConfig:
    """All settings that decide the numbers of a run. Raises ValueError as the model configs do."""

    model: str
    model_config: dict[str, Any]
    data: str
    backend: str = "torch"
    binarize: bool = False
    """draw each pixel as 0 or 1 at every step, 1 with the grey value as its probability"""
    dtype: str = "float32"
    device: str = "cpu"
    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "adam"
    lr: float = 1e-3
    schedule: str = "constant"
    """of the learning rate, by epoch: constant | cosine (to 0) | step (/2 at half, at 3/4 and at
    7/8 of the epochs) | exponential (to 1/100) |
    constant-then-decay (constant for `constant_epochs`, then times `decay` at each epoch)"""
    constant_epochs: int = 5
    decay: float = 0.5
    weight_decay: float = 0.0
    """this times the parameter is added to its gradient, after clipping"""
    polyak: float | None = None
    """decay of the running average of the weights; evaluations, pictures and both files of weights
    take the average in place of the last weights (see PolyakAverage)"""
    clip: float | None = None
    """global norm of the gradient above which it is scaled down"""
    seed: int = 0
    checkpoint_every: int = 200
    """steps between checkpoints; one more at the end of each epoch"""
    log_every: int = 50
    """steps between lines of metrics"""
    patience: int | None = None
    """stop after this number of epochs without a better validation loss"""
    pictures: int | None = None
    """epochs between pictures of samples and reconstructions, in RUN/pictures"""
    amp: str = "off"
    channels_last: bool = False
    compile: bool = False
    sync_batchnorm: bool = False
    """these four: see diptych.panels.engine"""

    def __post_init__(self) -> None:
        pairs.get(self.model)
        check_choice("backend", self.backend, BACKENDS)
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        for name in ("epochs", "batch_size", "checkpoint_every", "log_every", "constant_epochs"):
            check_positive_int(name, getattr(self, name))
        check_real("lr", self.lr, above=0)
        check_real("decay", self.decay, above=0)
        check_real("weight_decay", self.weight_decay, above=0, inclusive=True)
        if self.clip is not None:
            check_real("clip", self.clip, above=0)
        if self.polyak is not None:
            check_rate("polyak", self.polyak)
        for name in ("patience", "pictures"):
            if getattr(self, name) is not None:
                check_positive_int(name, getattr(self, name))
        check_choice("amp", self.amp, AMP)

    @property
    def engine(self) -> Engine:
        """Options of the torch backend."""
        return Engine(self.amp, self.channels_last, self.compile, self.sync_batchnorm)

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        n = self.epochs
        if self.schedule == "cosine":
            return schedules.cosine_lr(self.lr, epoch, epochs=n)
        if self.schedule == "step":
            milestones = [math.ceil(n * part) for part in (0.5, 0.75, 0.875)]
            return schedules.multi_step_lr(self.lr, epoch, milestones=milestones, gamma=0.5)
        if self.schedule == "exponential":
            return schedules.exponential_lr(self.lr, epoch, gamma=0.01 ** (1 / n))
        if self.schedule == "constant-then-decay":
            return schedules.constant_then_decay_lr(
                self.lr, epoch, constant_epochs=self.constant_epochs, gamma=self.decay
            )
        return schedules.constant_lr(self.lr, epoch)
