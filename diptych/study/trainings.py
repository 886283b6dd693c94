"""Train both panels of a pair with the same settings and measure how far they differ."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diptych.data import Data
from diptych.panels import BACKENDS
from diptych.parity.measures.rows import normwise
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder
from diptych.training.train import Outcome, train

TRAJECTORY = 1e-10
"""The bound on the relative difference within 100 steps in float64. Rounding errors grow
exponentially with the number of steps, so no fixed bound holds for longer trainings."""


@dataclass(frozen=True)
class Trainings:
    """The outcomes of the same run on each panel."""

    data: Data
    outcomes: dict[str, Outcome]

    def curves(self, names: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
        """Return the logged terms and "step" as arrays, by backend and name."""
        result = {}
        for backend, outcome in self.outcomes.items():
            lines = [line for line in outcome.folder.metrics if line["kind"] == "step"]
            result[backend] = {n: np.array([line[n] for line in lines]) for n in ("step", *names)}
        return result

    def errors(self) -> dict[str, float]:
        """Return the relative differences of the first 100 losses and of the final weights."""
        a, b = (curve["total"][:100] for curve in self.curves(("total",)).values())
        left, right = (outcome.panel.weights() for outcome in self.outcomes.values())
        return {
            "curves_error_100": float(np.max(np.abs(a - b) / np.abs(b))),
            "weights_error": max(normwise(left[name], right[name]) for name in left),
        }

    def durations(self) -> dict[str, dict[str, float]]:
        """Return the seconds and steps of each panel's training."""
        return {b: {"seconds": o.seconds, "steps": o.steps} for b, o in self.outcomes.items()}


def train_both(config: RunConfig, data: Data, folder: Path, console: Console) -> Trainings:
    """Train each panel with the same settings and initial weights, in folder / backend."""
    console.print(data.summary, style="dim", markup=False, soft_wrap=True)
    outcomes = {
        backend: train_from_scratch(
            replace(config, backend=backend), data, folder / backend, console
        )
        for backend in BACKENDS
    }
    return Trainings(data, outcomes)


def train_from_scratch(
    config: RunConfig, data: Data, path: Path, console: Console | None
) -> Outcome:
    """Train; delete the folder of an earlier run with the same settings first.

    Raises: ValueError if the folder holds a run of other settings, which is not deleted.
    """
    folder = RunFolder(path)
    if folder.settings_file.exists():
        if replace(folder.config(), epochs=config.epochs) != config:
            raise ValueError(f"{path}: holds a run of other settings; take another --out")
        shutil.rmtree(path)
    outcome = train(config, data, path, console=console)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


def print_errors(name: str, errors: dict[str, Any], console: Console) -> None:
    """Print the differences of two trainings in one line."""
    console.print(
        f"{name}: the curves differ by at most {errors['curves_error_100']:.1e} in the first 100 "
        f"steps (bound {TRAJECTORY:.0e}), the weights by {errors['weights_error']:.1e} at the end."
    )
