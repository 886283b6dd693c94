"""The settings of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from diptych import pairs
from diptych.names import DTYPES
from diptych.panels import BACKENDS, OPTIMIZERS
from diptych.panels.engine import AMP, Engine
from diptych.runs import schedules
from model_specs.common.effects import check_effects, conditional
from model_specs.common.fields import check_choice, check_positive_int, check_rate, check_real

SCHEDULES = ("constant", "cosine", "step", "exponential", "constant-then-decay")
FITS = ("train", "train+valid")
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
    """True to draw each pixel as 0 or 1 at every step, with its grey value as the probability of
    1."""
    fit: str = "train"
    """The images that the weights are fitted to: those of the training set (train), or those of the
    training and the validation set together (train+valid), a final fit with settings that
    validation has chosen before. A final fit is not validated, and no epoch is kept as the best."""
    dtype: str = "float32"
    device: str = conditional("cpu", backend=("torch",))
    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "adam"
    lr: float = 1e-3
    schedule: str = conditional(
        "constant",
        epochs=lambda run: run.epochs > 1 or run.schedule in FIXED_SCHEDULES,
        decay=lambda run: run.schedule != "constant-then-decay" or run.decay != 1,
    )
    """The learning rate by epoch: constant; cosine (falls to 0); step (halved after 1/2, 3/4 and
    7/8 of the epochs); exponential (falls to 1/100); or constant-then-decay (constant for
    `constant_epochs`, then multiplied by `decay` at each epoch)."""
    constant_epochs: int = conditional(5, schedule=("constant-then-decay",))
    """The number of epochs before constant-then-decay begins to decay."""
    decay: float = conditional(0.5, schedule=("constant-then-decay",))
    """The factor by which constant-then-decay multiplies the learning rate at each epoch."""
    weight_decay: float = 0.0
    """The factor of the L2 penalty: this times a parameter is added to its gradient, after
    clipping."""
    polyak: float | None = None
    """The decay of a running average of the weights; None keeps no average. Evaluations, pictures
    and both files of weights use the average instead of the last weights (see PolyakAverage)."""
    clip: float | None = None
    """The largest norm of the gradient over all parameters; a larger one is scaled down to it."""
    seed: int = 0
    checkpoint_every: int = 200
    """The number of steps between checkpoints; there is one more at the end of each epoch."""
    log_every: int = 50
    """The number of steps between lines of metrics; each of the first 100 steps has one."""
    patience: int | None = conditional(None, fit=("train",))
    """The run stops after this number of epochs without a better validation loss."""
    pictures: int | None = None
    """The number of epochs between pictures of samples and reconstructions, in RUN/pictures."""
    amp: str = conditional("off", backend=("torch",))
    channels_last: bool = conditional(False, backend=("torch",))
    compile: bool = conditional(False, backend=("torch",))
    sync_batchnorm: bool = conditional(False, backend=("torch",))
    """`amp`, `channels_last`, `compile` and `sync_batchnorm` are explained in
    diptych.panels.engine."""

    def __post_init__(self) -> None:
        pairs.get(self.model)
        check_choice("backend", self.backend, BACKENDS)
        check_choice("fit", self.fit, FITS)
        check_choice("dtype", self.dtype, DTYPES)
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
        check_effects(self)

    @property
    def validates(self) -> bool:
        """True if each epoch ends with a validation."""
        return self.fit == "train"

    @property
    def engine(self) -> Engine:
        """The options of the torch backend."""
        return Engine(self.amp, self.channels_last, self.compile, self.sync_batchnorm)

    def is_out_of_patience(self, waited: int) -> bool:
        """True if `waited` epochs without a better validation loss end the run."""
        return self.patience is not None and waited >= self.patience

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
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
