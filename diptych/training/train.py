"""Train one panel of a pair: from settings and data to a run folder."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diptych import pairs
from diptych.data import Data
from diptych.display import progress_bar
from diptych.panels import Panel, make_panel
from diptych.panels.ranks import Ranks
from diptych.runs.config import RunConfig
from diptych.runs.data_identity import absolute_name
from diptych.runs.folder import RunFolder
from diptych.runs.interrupts import stop_on_interrupt
from diptych.runs.resuming import model_config
from diptych.tasks import Task, make_task
from diptych.training.resident import refusal
from diptych.training.step import NonFiniteError
from diptych.training.trainer import Trainer
from model_specs.common.key import Key

__all__ = ["NonFiniteError", "Outcome", "Trainer", "build", "train"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call of `train`."""

    folder: RunFolder
    panel: Panel
    steps: int
    """The number of steps since the beginning of the run."""
    seconds: float
    """The time of all training steps, also of those before the run was resumed."""
    interrupted: bool
    """True if Ctrl-C stopped the run before its last step."""
    already_finished: bool = False
    """True if the run was finished before this call, which then changed nothing."""
    resident: str = ""
    """How the steps of this call were taken: "" on the ordinary path, "resident", or "captured"
    if they were replayed from a CUDA graph."""
    startup_seconds: float = 0.0
    """The time until the first replay: the upload of the data, warm-up steps and captures. It is
    not in `seconds`."""
    other_seconds: float = 0.0
    """The time of this call for validation, pictures and files."""

    @property
    def timing(self) -> str:
        """The times of a resident run in words."""
        way = {"resident": "resident", "captured": "resident, captured"}[self.resident]
        return (
            f"{way}; {self.startup_seconds:.1f} s of start-up before and "
            f"{self.other_seconds:.1f} s of validation and files"
        )

    @property
    def record(self) -> dict[str, Any]:
        """The numbers of steps and seconds for a JSON file."""
        return {
            "steps": self.steps,
            "path": self.resident or "ordinary",
            "training_seconds": self.seconds,
            "startup_seconds": self.startup_seconds,
            "other_seconds": self.other_seconds,
            "interrupted": self.interrupted,
        }


def build(config: RunConfig, ranks: Ranks = Ranks()) -> Panel:  # noqa: B008  (immutable)
    """Build the model of a run with the weights that it starts from.

    Weights that a model initialises by its first batch are set once the run begins.
    """
    return make_panel(
        config.model,
        model_config(config),
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
    resident: bool | None = None,
) -> Outcome:
    """Train one panel and leave a run folder (see diptych.runs.folder) in `out`.

    The first Ctrl-C finishes the step, saves, and returns with `interrupted`; a second one raises
    KeyboardInterrupt at once. `resume` continues a run from its last checkpoint, to the same final
    weights bit for bit; without a checkpoint it starts from the first step. Some settings may
    change, such as the number of epochs (see diptych.runs.resuming). A finished run stays
    unchanged. `console` shows a progress bar. With several `ranks` each process calls this, and
    only rank 0 writes. `resident` takes the steps of diptych.training.resident, which keep data,
    noise and losses on the device; by default on CUDA, unless the run cannot.

    Raises: NonFiniteError with the step and the term; the last checkpoint stays unchanged.
    ValueError if `out` holds another run or cannot be written, or if a run that cannot be
    resident is to be.
    """
    config = replace(config, data=absolute_name(config.data))
    panel, task = build(config, ranks), make_task(config, dataset)
    _check_fits(config, task, panel, ranks)
    if not resume:
        task.check_settings(ranks)
    folder = RunFolder(Path(out))
    is_resident = _is_resident(resident, panel, ranks)
    trainer = Trainer(config, task, folder, panel, ranks, is_resident=is_resident)
    with contextlib.ExitStack() as stack:
        ranks.broadcast(lambda: stack.enter_context(folder.locked()))
        ranks.broadcast(lambda: folder.begin(config, dataset, resume, ranks.size))
        console = console or Console(quiet=True)
        if resume and _is_restored(trainer, console):
            position = trainer.position
            return Outcome(
                folder, panel, position.step, position.seconds, False, already_finished=True
            )
        before, start = trainer.position.seconds, time.perf_counter()
        interrupted = _run(trainer, console)
        seconds = time.perf_counter() - start
    position, steps = trainer.position, trainer.resident
    startup = 0.0 if steps is None else steps.startup_seconds
    way = "" if steps is None else "captured" if steps.captured else "resident"
    other = max(0.0, seconds - startup - (position.seconds - before))
    if steps is not None and steps.failure:
        reason = f"the steps could not be captured as a CUDA graph: {steps.failure}"
        console.print(reason, markup=False, highlight=False, soft_wrap=True)
    outcome = Outcome(folder, trainer.panel, position.step, position.seconds, interrupted)
    return replace(outcome, resident=way, startup_seconds=startup, other_seconds=other)


def _is_resident(resident: bool | None, panel: Panel, ranks: Ranks) -> bool:
    """True if the steps are taken on the resident path.

    Raises: ValueError if `resident` is True and the run cannot be.
    """
    reason = refusal(panel, ranks)
    if resident is None:
        return reason is None and panel.model.device.type == "cuda"
    if resident and reason is not None:
        raise ValueError(f"resident: got True {reason}")
    return resident


def _is_restored(trainer: Trainer, console: Console) -> bool:
    """Continue from the checkpoint; return True if the run is finished, and then change nothing."""
    trainer.restore()
    if trainer.ranks.broadcast(trainer.is_complete):
        return True
    trainer.ranks.broadcast(lambda: trainer.folder.rewind(trainer.position.step))
    folder, step, size = trainer.folder, trainer.position.step, trainer.ranks.size
    config, dataset = trainer.config, trainer.task.data
    notice = trainer.ranks.broadcast(lambda: folder.resume(config, dataset, step, size))
    if notice and trainer.ranks.first:
        console.print(notice, markup=False, highlight=False, soft_wrap=True)
    return False


def _run(trainer: Trainer, console: Console) -> bool:
    """Train to the end, or until Ctrl-C; return True if the run was stopped."""

    def announce() -> None:
        console.print("stopping after this step; Ctrl-C again stops now")

    # a run that diverges ends with its step and term, not with a warning from within a product
    quiet = np.errstate(over="ignore", invalid="ignore")
    with progress_bar(console) as progress, stop_on_interrupt(announce) as stop, quiet:
        try:
            return trainer.run(progress, stop)
        except NonFiniteError as error:
            if trainer.ranks.first:
                trainer.folder.log_stop(trainer.position.step, str(error))
            raise


def _check_fits(config: RunConfig, task: Task, panel: Panel, ranks: Ranks) -> None:
    """Raise ValueError if model, data and ranks do not fit, before the folder is claimed."""
    traits = pairs.traits(panel.model.config)
    if ranks.size > 1 and not task.divisible:
        raise ValueError(f"ranks: got {ranks.size}, {task.data.name} is trained on in one process")
    if ranks.size > 1 and not traits.divisible:
        raise ValueError(
            f"ranks: got {ranks.size}, {config.model} with this config is trained in one process: "
            "its loss is no sum over parts of a batch"
        )
    if config.pictures is not None and not task.pictured:
        raise ValueError(f"pictures: got a run on {task.data.name}, takes one on images")
    first = task.training_batch(panel, 0)
    if first.size < traits.least_batch:
        raise ValueError(
            f"batch_size: got {config.batch_size} of {task.data.name}, {config.model} takes "
            f"{traits.least_batch} images or more: one alone cannot be normalised"
        )
    with panel.evaluating():  # so that no running statistic changes
        panel.terms(first.inputs, first.noise)
