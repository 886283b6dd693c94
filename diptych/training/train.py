"""Train one panel of a pair: from settings and data to a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from diptych import pairs
from diptych.data import Data
from diptych.display import progress_bar
from diptych.panels import Panel, make_panel
from diptych.panels.ranks import Ranks
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder
from diptych.runs.interrupts import stop_on_interrupt
from diptych.tasks import Task, make_task
from diptych.training.trainer import NonFiniteError, Trainer
from model_specs.common.key import Key

__all__ = ["NonFiniteError", "Outcome", "Trainer", "build", "train"]


@dataclass(frozen=True)
class Outcome:
    """What a call of `train` came to."""

    folder: RunFolder
    panel: Panel
    steps: int
    seconds: float
    """spent on training steps, over all the times that the run was resumed"""
    interrupted: bool


def build(config: RunConfig, ranks: Ranks = Ranks()) -> Panel:  # noqa: B008  (immutable)
    """The model that a run trains, with the weights it starts from; those that a model sets by its
    first batch are set once the run begins."""
    pair = pairs.get(config.model)
    return make_panel(
        config.model,
        type(pair.variants[""])(**config.model_config),
        config.backend,
        key=Key(config.seed).fold_in("weights"),
        dtype=config.dtype,
        device=config.device,
        optimizer=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        engine=config.engine,
        ranks=ranks,
    )


def train(
    config: RunConfig,
    dataset: Data,
    out: Path | str,
    *,
    resume: bool = False,
    console: Console | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008  (immutable)
) -> Outcome:
    """Train one panel and leave a run folder (see diptych.runs.config) in `out`.

    Ctrl-C finishes the step, saves, and returns with `interrupted`. A killed run is continued with
    `resume`, from its last checkpoint, to the same final weights bit for bit. Without a checkpoint
    `resume` begins at the beginning. `console` shows a progress bar. With several `ranks` each
    process calls this, and the first alone writes.

    Raises: NonFiniteError with the step and the term; the last checkpoint stays as it was.
    ValueError where `out` holds another run or cannot be written.
    """
    panel, task = build(config, ranks), make_task(config, dataset)
    _check_fits(config, task, panel, ranks)
    folder = RunFolder(Path(out))
    ranks.broadcast(lambda: folder.begin(config, dataset, resume, ranks.size))
    trainer = Trainer(config, task, folder, panel, ranks)
    if resume:
        trainer.restore()
    # a run that diverges is told by its step and term, not by a warning from within a product
    quiet = np.errstate(over="ignore", invalid="ignore")
    with progress_bar(console) as progress, stop_on_interrupt() as stop, quiet:
        interrupted = trainer.run(progress, stop)
    at = trainer.position
    return Outcome(folder, trainer.panel, at.step, at.seconds, interrupted)


def _check_fits(config: RunConfig, task: Task, panel: Panel, ranks: Ranks) -> None:
    """Raise ValueError where model, data and ranks do not fit, before the folder is claimed."""
    if ranks.size > 1 and not task.divisible:
        raise ValueError(f"ranks: got {ranks.size}, {task.data.name} is trained on in one process")
    if ranks.size > 1 and not getattr(panel.model.config, "divisible", True):
        raise ValueError(
            f"ranks: got {ranks.size}, {config.model} so configured is trained in one process: its "
            "loss is of the whole batch, and no sum over parts of it"
        )
    if config.pictures is not None and not task.pictured:
        raise ValueError(f"pictures: got a run on {task.data.name}, takes one on images")
    first = task.batch(0, 0)
    least = getattr(panel.model.config, "least_batch", 1)
    if task.size(first) < least:
        raise ValueError(
            f"batch_size: got {config.batch_size} of {task.data.name}, {config.model} takes "
            f"{least} images or more: one alone cannot be normalised"
        )
    with panel.evaluating():  # no running statistic may move by this
        whole = slice(0, task.size(first))
        noise = task.noise(panel, first, Key(0), whole)
        panel.terms(task.prepare(panel, first, Key(0), None), noise)
