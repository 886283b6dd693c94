"""The progress of a run, as its checkpoint stores it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from diptych.runs.config import RunConfig


@dataclass
class Position:
    """The progress of a run: steps and seconds, the sums of the current epoch, the best epoch."""

    step: int = 0
    seconds: float = 0.0
    units: int = 0
    """The number of images or tokens in these steps, for the progress bar."""
    examples: int = 0
    """The number of examples in the steps of the current epoch."""
    sums: dict[str, float] = field(default_factory=dict)
    """The loss terms, summed over the examples of the current epoch."""
    best_epoch: int = -1
    best_loss: float = math.inf

    def add(self, size: int, units: int, terms: Mapping[str, float], seconds: float) -> None:
        """Count one more step: its examples, their images or tokens, and the terms of its loss."""
        self.step += 1
        self.seconds += seconds
        self.units += units
        self.examples += size
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * size

    def means(self) -> dict[str, float]:
        """Return the mean loss terms of the epoch, and begin the next one."""
        means = {name: value / self.examples for name, value in self.sums.items()}
        self.examples, self.sums = 0, {}
        return means

    def is_over(self, epoch: int, config: RunConfig) -> bool:
        """True if the run's patience ends it after `epoch`."""
        return config.is_out_of_patience(epoch - self.best_epoch)

    def check(self, config: RunConfig, steps_per_epoch: int) -> None:
        """Check that a run with these settings can be here. Raises: ValueError that names a field.

        Every batch of an epoch but the last one has config.batch_size examples.
        """
        for name in ("step", "units", "examples", "best_epoch"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, takes an int")
        epochs, index = divmod(self.step, steps_per_epoch)
        last = config.epochs * steps_per_epoch
        _check("step", self.step, 0 <= self.step <= last, f"0 to {last}")
        examples = index * config.batch_size
        _check("examples", self.examples, self.examples == examples, f"{examples}")
        _check("units", self.units, self.units >= self.step, f"{self.step} or more")
        scored = epochs if config.validates else 0
        best = 0 <= self.best_epoch < scored or (self.best_epoch == -1 and scored == 0)
        _check("best_epoch", self.best_epoch, best, f"0 to {scored - 1}" if scored else "-1")
        finite = math.isfinite(self.best_loss) if scored else self.best_loss == math.inf
        _check("best_loss", self.best_loss, finite, "a finite number" if scored else "inf")
        seconds = _is_number(self.seconds) and self.seconds >= 0
        _check("seconds", self.seconds, seconds, "a number from 0")
        sums = isinstance(self.sums, dict) and bool(self.sums) == bool(index)
        sums = sums and all(map(_is_number, self.sums.values()))
        _check("sums", self.sums, sums, "a number for each term" if index else "none")


def _check(name: str, value: object, valid: bool, takes: str) -> None:
    if not valid:
        raise ValueError(f"{name}: got {value!r}, takes {takes}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
