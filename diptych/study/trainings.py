"""Train both panels of a pair alike, and measure how far they part."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diptych.data import Data
from diptych.panels import BACKENDS
from diptych.parity.report import normwise
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder
from diptych.training.train import Outcome, train

TRAJECTORY = 1e-10
"""The contract for 100 steps in float64. Beyond, rounding grows exponentially with the steps, as in
any training: no fixed bound holds for an arbitrary number of them."""


@dataclass(frozen=True)
class Trainings:
    """The same run on each panel."""

    data: Data
    outcomes: dict[str, Outcome]

    def curves(self, names: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
        """Logged terms by backend and name, "step" among them."""
        result = {}
        for backend, outcome in self.outcomes.items():
            lines = [line for line in outcome.folder.metrics if line["kind"] == "step"]
            result[backend] = {n: np.array([line[n] for line in lines]) for n in ("step", *names)}
        return result

    def errors(self) -> dict[str, float]:
        """How far the loss curves part in the first 100 steps, and the weights at the end."""
        a, b = (curve["total"][:100] for curve in self.curves(("total",)).values())
        ours, theirs = (outcome.panel.weights() for outcome in self.outcomes.values())
        return {
            "curves_error_100": float(np.max(np.abs(a - b) / np.abs(b))),
            "weights_error": max(normwise(ours[name], theirs[name]) for name in ours),
        }

    def spent(self) -> dict[str, dict[str, float]]:
        """Seconds and steps of each panel."""
        return {b: {"seconds": o.seconds, "steps": o.steps} for b, o in self.outcomes.items()}


def train_both(config: RunConfig, data: Data, folder: Path, console: Console) -> Trainings:
    """Train each panel with the same settings from the same weights, in folder / backend."""
    console.print(data.summary, style="dim")
    outcomes = {
        backend: train_anew(replace(config, backend=backend), data, folder / backend, console)
        for backend in BACKENDS
    }
    return Trainings(data, outcomes)


def train_anew(config: RunConfig, data: Data, path: Path, console: Console | None) -> Outcome:
    """Train; a folder that an older run of the same settings left is cleared first.

    Raises: ValueError where it holds a run of other settings: that may be somebody's.
    """
    folder = RunFolder(path)
    if folder.settings_file.exists():
        if replace(folder.config(), epochs=config.epochs) != config:
            raise ValueError(f"{path}: holds a run that is not a study's; take another --out")
        shutil.rmtree(path)
    outcome = train(config, data, path, console=console)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


def tell(name: str, errors: dict[str, Any], console: Console) -> None:
    """One line on how far two trainings parted."""
    console.print(
        f"{name}: the curves differ by at most {errors['curves_error_100']:.1e} in the first 100 "
        f"steps (bound {TRAJECTORY:.0e}), the weights by {errors['weights_error']:.1e} at the end."
    )
