"""The interface between the training loop, `diptych evaluate`, `diptych sample` and a kind of data.

The loop knows no model and no data: it asks a Task for a batch, and hands back the state that the
last one left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from diptych.panels import Panel
from diptych.runs.config import RunConfig
from model_specs.common.key import Key


@dataclass(frozen=True)
class Options:
    """What a user may ask of `diptych evaluate` and `diptych sample`; None: as the task has it."""

    console: Console
    split: str = "test"
    samples: int | None = None
    examples: int | None = None
    memory_mb: float = 64
    seed: int = 0
    count: int | None = None
    mean: bool | None = None
    reconstruct: bool = False
    prompt: str | None = None
    temperature: float = 1.0
    out: Path | None = None
    resume: bool = False
    folder: Path | None = None
    """of the run, where an evaluation keeps what it has found so far"""


@dataclass(frozen=True)
class Assessment:
    """How good trained panels are: numbers for the JSON, and the same as lines of a table."""

    title: str
    metrics: dict[str, Any]
    lines: list[tuple[str, str, str]]
    """(quantity, value, unit)"""
    partial: Path | None = None
    """what was kept of it on the way, to be removed once it is kept itself"""
    earlier_seconds: float = 0.0
    """spent on it before it was resumed"""


class Task(ABC):
    """Batches for training and a judgement, for one kind of data."""

    unit: str
    """what the progress bar counts"""
    divisible = False
    """whether several ranks may each take a part of a batch"""
    pictured = False
    """whether there is something to look at while it trains"""
    resumable = False
    """whether an evaluation can be given up and gone on with"""
    steps_per_epoch: int

    def __init__(self, config: RunConfig, data: Any) -> None:
        self.config, self.data, self.key = config, data, Key(config.seed)

    @abstractmethod
    def batch(self, epoch: int, index: int) -> Any:
        """The data of one step; arrays that depend on nothing but the run's key and these two."""

    @abstractmethod
    def prepare(self, panel: Panel, batch: Any, key: Key, state: Any) -> Any:
        """That data as the model's loss takes it; `state` is what the step before left, or None."""

    def noise(self, panel: Panel, batch: Any, key: Key, rows: slice) -> Any:
        """The noise of one step, for these examples of its batch."""
        return panel.model.draw_noise(key, rows.stop - rows.start, first=rows.start)

    def pictures(self, panel: Panel) -> dict[str, Figure]:
        """Pictures of how far the panel is, by name."""
        raise ValueError(f"pictures: got a run on {self.data.name}, takes one on images")

    @abstractmethod
    def size(self, batch: Any) -> int:
        """How many examples a batch has; loss terms are averaged over them."""

    def count(self, batch: Any) -> int:
        """How many of `unit` a batch has."""
        return self.size(batch)

    def carries(self, index: int) -> bool:
        """Whether step `index` of an epoch goes on with the state of the step before."""
        return False

    @abstractmethod
    def validate(self, panel: Panel) -> dict[str, float]:
        """How good the panel is on held-out data; the first number, the less the better, decides
        which epoch's weights are kept as the best."""

    @abstractmethod
    def assess(self, panels: list[Panel], options: Options) -> Assessment:
        """What `diptych evaluate` tells. Raises ValueError for options that make no sense here."""

    @abstractmethod
    def sample(self, panel: Panel, folder: Path, options: Options) -> str:
        """Draw from a trained panel; returns what to tell the user."""

    @abstractmethod
    def summary(self) -> str:
        """One short line of what data there is."""

    def one(self, panels: list[Panel]) -> Panel:
        """The only panel. Raises ValueError where there are more."""
        if len(panels) > 1:
            raise ValueError(f"runs: got {len(panels)}, {type(self).__name__.lower()} takes one")
        return panels[0]
