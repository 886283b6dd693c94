"""The interface between the training loop, `diptych evaluate`, `diptych sample` and a kind of data.

The loop knows no model and no data: it asks a Task for the batch of a step, and hands back the
state that the last step left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich.console import Console

from diptych import pairs
from diptych.panels import Panel
from diptych.panels.ranks import Ranks
from diptych.runs.config import RunConfig
from model_specs.common.key import Key


@dataclass(frozen=True)
class Options:
    """Options of `diptych evaluate` and `diptych sample`; None takes the task's own default."""

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
    """of the run, where an unfinished evaluation keeps its partial result"""


@dataclass(frozen=True)
class Assessment:
    """The evaluation of trained panels: numbers for the JSON, and the same as lines of a table."""

    title: str
    metrics: dict[str, Any]
    lines: list[tuple[str, str, str]]
    """(quantity, value, unit)"""
    partial: Path | None = None
    """the file of partial results, to be removed once the whole result is kept"""
    earlier_seconds: float = 0.0
    """spent on it before it was resumed"""


class TrainingBatch(NamedTuple):
    """The input of one training step: the rows of a batch that this rank takes, and their noise."""

    inputs: Any  # as the model's loss takes them
    noise: Any
    size: int  # examples of the whole batch, over which loss terms are averaged
    units: int  # images or tokens in it, for the progress bar
    share: float = 1.0  # of the rows' loss in that of the whole batch: see Ranks.shard


class Task(ABC):
    """Batches for training and an evaluation, for one kind of data."""

    unit: str
    """the unit that the progress bar counts"""
    divisible = False
    """True where several ranks may each take a part of a batch"""
    pictured = False
    """True where there are pictures to draw during training"""
    resumable = False
    """True where an interrupted evaluation can be resumed"""
    steps_per_epoch: int

    def __init__(self, config: RunConfig, data: Any) -> None:
        self.config, self.data, self.key = config, data, Key(config.seed)

    def training_batch(
        self,
        panel: Panel,
        step: int,
        state: Any = None,
        *,
        ranks: Ranks = Ranks(),  # noqa: B008  (immutable)
        stream: str = "noise",
    ) -> TrainingBatch:
        """The batch of a step, counted through all epochs, with the noise of that `stream`.

        `state` is what the step before left; only a batch that continues the last one takes it.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        key = self.key.fold_in(step)
        batch = self.batch(panel, epoch, index)
        size = self.size(batch)
        rows, share = ranks.shard(size, pairs.traits(panel.model.config).reduction)
        inputs = self.prepare(panel, batch, key, state if self.carries(index) else None)
        inputs = inputs[rows] if ranks.size > 1 else inputs
        noise = self.noise(panel, batch, key.fold_in(stream), rows)
        return TrainingBatch(inputs, noise, size, self.count(batch), share)

    @abstractmethod
    def batch(self, panel: Panel, epoch: int, index: int) -> Any:
        """The data of one step; it depends on nothing but the run's key and these two numbers."""

    @abstractmethod
    def prepare(self, panel: Panel, batch: Any, key: Key, state: Any) -> Any:
        """The data of a step as the model's loss takes them, from this state or from zero."""

    def noise(self, panel: Panel, batch: Any, key: Key, rows: slice) -> Any:
        """The noise of one step, for these examples of its batch."""
        return panel.model.draw_noise(key, rows.stop - rows.start, first=rows.start)

    def pictures(self, panel: Panel) -> dict[str, Figure]:
        """Pictures of the current progress, by name."""
        raise ValueError(f"pictures: got a run on {self.data.name}, takes one on images")

    @abstractmethod
    def size(self, batch: Any) -> int:
        """The number of examples in a batch; loss terms are averaged over them."""

    def count(self, batch: Any) -> int:
        """The number of `unit` in a batch."""
        return self.size(batch)

    def carries(self, index: int) -> bool:
        """True where step `index` of an epoch continues the sequences of the step before."""
        return False

    @abstractmethod
    def validate(self, panel: Panel) -> dict[str, float]:
        """Score the panel on held-out data; the first number, the lower the better, decides which
        epoch's weights are kept as the best."""

    @abstractmethod
    def assess(self, panels: list[Panel], options: Options) -> Assessment:
        """Evaluate for `diptych evaluate`. Raises ValueError for options that do not apply."""

    @abstractmethod
    def sample(self, panel: Panel, folder: Path, options: Options) -> str:
        """Draw from a trained panel; returns the message for the user."""

    @abstractmethod
    def summary(self) -> str:
        """Describe the data in one short line."""

    def one(self, panels: list[Panel]) -> Panel:
        """The only panel. Raises ValueError where there are more."""
        if len(panels) > 1:
            raise ValueError(f"runs: got {len(panels)}, {type(self).__name__.lower()} takes one")
        return panels[0]
