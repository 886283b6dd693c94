"""The trainings of both panels that a folder holds, such as those of `diptych study`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diptych.files import read_json
from diptych.pairs import PAIRS
from diptych.panels import BACKENDS
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder, read_metrics

FIRST_STEPS = 100
"""Steps whose losses are bound to agree; rounding errors grow exponentially after them."""
DRAWN = ("samples.png", "reconstructions.png", "manifold.png")
"""The ends of the names of figures that show images of a model."""


@dataclass(frozen=True)
class Training:
    """The same training on both panels, from run folders called numpy and torch."""

    config: RunConfig
    data: str
    steps: np.ndarray
    losses: dict[str, np.ndarray] = field(repr=False)
    """the loss of each step, by backend"""

    @property
    def model(self) -> str:
        """The name of the pair."""
        return self.config.model

    @property
    def differences(self) -> np.ndarray:
        """The relative difference of the two losses at each step."""
        left, right = (self.losses[backend] for backend in BACKENDS)
        return np.abs(left - right) / np.abs(right)

    @property
    def first_difference(self) -> float:
        """The largest relative difference within the first 100 steps."""
        return float(self.differences[self.steps <= FIRST_STEPS].max(initial=0.0))


def trainings(out: Path) -> list[Training]:
    """The trainings below a folder, in the order of the pairs."""
    return sorted(_trainings(out), key=lambda training: list(PAIRS).index(training.model))


def _trainings(out: Path) -> Iterator[Training]:
    for settings in sorted(out.glob("**/numpy/run.json")):
        folders = [RunFolder(settings.parents[1] / backend) for backend in BACKENDS]
        if all(folder.metrics_file.is_file() for folder in folders):
            training = _read(folders)
            if training is not None:
                yield training


def _read(folders: list[RunFolder]) -> Training | None:
    """The training in two run folders; None if they are no twins or have logged no step."""
    try:
        configs = [folder.config() for folder in folders]
        curves = [_curve(folder) for folder in folders]
        data = folders[0].settings().get("data", configs[0].data)
    except ValueError:
        return None  # a folder that another version of diptych wrote, or that is being written
    if configs[0].model != configs[1].model or not all(curves):
        return None
    steps = sorted(set(curves[0]) & set(curves[1]))
    losses = {
        backend: np.array([curve[step] for step in steps])
        for backend, curve in zip(BACKENDS, curves, strict=True)
    }
    return Training(configs[0], data, np.array(steps), losses) if steps else None


def _curve(folder: RunFolder) -> dict[int, float]:
    lines = read_metrics(folder.metrics_file)
    return {line["step"]: line["total"] for line in lines if line["kind"] == "step"}


def summary(out: Path) -> dict[str, Any]:
    """The summary that `diptych study` wrote to a folder; empty without one."""
    try:
        return read_json(out / "summary.json")
    except ValueError:
        return {}


def figures(out: Path) -> tuple[list[str], list[str]]:
    """The figures in a folder, relative to it: images that models have drawn, and all others."""
    paths = sorted((out / "figures").glob("*.png")) + sorted((out / "lab").glob("*.png"))
    names = [path.relative_to(out).as_posix() for path in paths]
    drawn = [name for name in names if name.endswith(DRAWN)]
    return drawn, [name for name in names if name not in drawn]
