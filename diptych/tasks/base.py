"""The interface between the training loop, `diptych evaluate`, `diptych sample` and a kind of data.

The loop does not depend on the model or the data: it gets each batch from a Task, and passes it the
state after the previous step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from diptych import pairs
from diptych.panels import Panel
from diptych.panels.ranks import Ranks
from diptych.runs.config import RunConfig
from model_specs.common.key import Key


@dataclass(frozen=True)
class Options:
    """Options of `diptych evaluate` and `diptych sample`; None stands for the task's default."""

    console: Console
    """The console of tables, progress bars and messages."""
    split: str = "test"
    """The part of the data to evaluate: train, valid or test."""
    samples: int | None = None
    """The number of importance samples of each image, or of passes with dropout over a text."""
    examples: int | None = None
    """The number of images, tokens or sequences to evaluate."""
    memory_mb: float = 64
    """The memory that an evaluation may use beside the model and the data, in MiB."""
    seed: int = 0
    """The random seed of the samples."""
    count: int | None = None
    """The number of images, interpolations or tokens to draw."""
    mean: bool | None = None
    """True for the mean of p(x|z), False for pixels drawn from it."""
    reconstruct: bool = False
    """True for reconstructions of test images instead of samples."""
    latents: bool = False
    """True for the codes of test images instead of samples."""
    manifold: bool = False
    """True for images decoded over the latent space instead of samples."""
    interpolate: bool = False
    """True for images decoded between two test images instead of samples."""
    steps: int | None = None
    """The number of images of an interpolation."""
    prompt: str | None = None
    """The text that the model continues."""
    temperature: float = 1.0
    """The temperature of the next token's distribution; 0 takes the most probable token."""
    out: Path | None = None
    """The picture file."""
    resume: bool = False
    """True to continue an interrupted evaluation."""
    per_image: Path | None = None
    """The CSV file for the numbers of each image."""
    folder: Path | None = None
    """The folder of the run, in which an unfinished evaluation keeps its partial result."""


def check_options(options: Options, names: tuple[str, ...], run: str) -> None:
    """Raise ValueError for an option that has no effect on a `run`, the words for its kind.

    `names` are the options that have one; the others must have their defaults.
    """
    for option in fields(Options):
        value = getattr(options, option.name)
        if option.name in ("console", "folder", *names) or value == option.default:
            continue
        takes = f"one on {READERS[option.name]}" if option.name in READERS else repr(option.default)
        raise ValueError(f"{option.name}: got {value!r} with {run}, takes {takes}")
    if options.temperature == 0 and options.seed != 0 and "temperature" in names:
        raise ValueError(
            f"seed: got {options.seed} with temperature 0, which draws no random number, takes 0"
        )


READERS = {
    "memory_mb": "images",
    "per_image": "images",
    "samples": "images or text",
    "resume": "images",
}
READERS |= {"mean": "images", "reconstruct": "images", "prompt": "text", "temperature": "text"}
READERS |= dict.fromkeys(("latents", "manifold", "interpolate", "steps"), "images")
"""The kind of data of the runs on which an option has an effect, if not on all."""


@dataclass(frozen=True)
class Assessment:
    """The evaluation of trained panels: numbers for the JSON, and the same as lines of a table."""

    title: str
    metrics: dict[str, Any]
    lines: list[tuple[str, str, str]]
    """The rows of the table: (quantity, value, unit)."""
    partial: Path | None = None
    """The file of partial results, which is removed when the result is written."""
    earlier_seconds: float = 0.0
    """The seconds that earlier processes spent on this evaluation."""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Numbers of each image by name, each of shape (N,)."""
    notes: tuple[str, ...] = ()
    """Sentences below the table: footnotes of its marks, and warnings."""


class TrainingBatch(NamedTuple):
    """The input of one training step: the rows of a batch that this rank takes, and their noise."""

    inputs: Any  # in the form that the model's loss takes
    noise: Any
    size: int  # examples of the whole batch, over which loss terms are averaged
    units: int  # images or tokens in it, for the progress bar
    share: float = 1.0  # the rows' share in the loss of the batch: see Ranks.shard


class Task(ABC):
    """Batches for training and an evaluation, for one kind of data."""

    unit: str
    """The unit that the progress bar counts."""
    divisible = False
    """True if several ranks may each take a part of a batch."""
    pictured = False
    """True if pictures can be drawn during training."""
    fits_validation = False
    """True if the weights may be fitted to the validation set as well."""
    resumable = False
    """True if an interrupted evaluation can be resumed."""
    evaluation_options: tuple[str, ...]
    """The options that have an effect on `assess`."""
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

        `state` is the state after the previous step; it is used only by a batch that continues the
        sequences of the previous one.
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

    def check_settings(self, ranks: Ranks) -> None:
        """Raise ValueError for a setting that has no effect on a new run on these data.

        RunConfig itself refuses those that no data and no later change of `epochs` can make act.
        """
        c = self.config
        if c.binarize:
            self.check_binarize()
        if not c.validates and not self.fits_validation:
            takes = "takes 'train': a final fit is for images"
            raise ValueError(f"fit: got {c.fit!r} with data {self.data.name!r}, {takes}")
        if c.sync_batchnorm and ranks.size == 1:
            raise ValueError("sync_batchnorm: got True with 1 process, takes several of torchrun")
        if c.patience is not None and c.patience > c.epochs - 2:  # the first epoch is the best
            takes = f"at most {c.epochs - 2}" if c.epochs > 2 else "None"
            raise ValueError(f"patience: got {c.patience} with epochs {c.epochs}, takes {takes}")
        if c.pictures is not None and c.pictures > c.epochs:
            got = f"got {c.pictures} with epochs {c.epochs}"
            raise ValueError(f"pictures: {got}, takes at most {c.epochs}")

    def check_binarize(self) -> None:
        """Raise ValueError unless the setting `binarize` suits these data and the likelihood."""
        raise ValueError(f"binarize: got True with data {self.data.name!r}, takes grey images")

    @abstractmethod
    def batch(self, panel: Panel, epoch: int, index: int) -> Any:
        """Return the data of one step, which depend only on the run's key and these two numbers."""

    @abstractmethod
    def prepare(self, panel: Panel, batch: Any, key: Key, state: Any) -> Any:
        """Convert the data of a step to the model's batch; a `state` of None is the zero state."""

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
        """True if step `index` of an epoch continues the sequences of the step before."""
        return False

    @abstractmethod
    def validate(self, panel: Panel) -> dict[str, float]:
        """Score the panel on held-out data; the first number, the lower the better, decides which
        epoch's weights are kept as the best."""

    def warning(self, panel: Panel, scores: Mapping[str, float]) -> str | None:
        """Say that `scores`, of `validate`, are worse than those of a uniform distribution; or
        None."""
        return None

    @abstractmethod
    def assess(self, panels: list[Panel], options: Options) -> Assessment:
        """Evaluate for `diptych evaluate`. Raises ValueError for options that do not apply."""

    @abstractmethod
    def sample(self, panel: Panel, folder: Path, options: Options) -> str:
        """Draw from a trained panel; return the message for the user."""

    @abstractmethod
    def summary(self) -> str:
        """Describe the data in one short line."""

    def only_panel(self, panels: list[Panel]) -> Panel:
        """Return the only panel. Raises: ValueError if there are several."""
        if len(panels) > 1:
            raise ValueError(f"runs: got {len(panels)}, {type(self).__name__.lower()} takes one")
        return panels[0]
