"""One outer loop for both panels.

Everything random is addressed by epoch or step from the run's key, so the loop has no hidden
state: weights, optimiser, step number and, of a recurrent model, the state it carries are all that
a resumed run needs to go on bit for bit.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diptych import pairs
from diptych.data import Data
from diptych.evaluation import per_example
from diptych.panels import Panel, make_panel
from diptych.run import RunConfig, RunFolder
from diptych.tasks import Task, make_task
from diptych.weights import load_arrays, save, save_arrays
from model_specs.key import Key

LOG_EACH = 100
"""So many first steps are all logged: there the curves of two panels must still be one."""


class NonFiniteError(ValueError):
    """A loss term or a weight became NaN or inf; the message says at which step, and which."""


@dataclass
class Position:
    """Where a run stands: steps done, the items in them, examples and sums of terms of this epoch,
    the best epoch so far."""

    step: int = 0
    seconds: float = 0.0
    count: int = 0
    seen: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_epoch: int = -1
    best_loss: float = math.inf


@dataclass(frozen=True)
class Outcome:
    """What a call of `train` came to."""

    folder: RunFolder
    panel: Panel
    steps: int
    seconds: float
    """spent on training steps, over all the times that the run was resumed"""
    interrupted: bool


def build(config: RunConfig) -> Panel:
    """The model that a run trains, with the weights it starts from."""
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
    )


def train(
    config: RunConfig,
    dataset: Data,
    out: Path | str,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> Outcome:
    """Train one panel and leave a run folder (see diptych.run) in `out`.

    Ctrl-C finishes the step, saves, and returns with `interrupted`. A killed run is continued with
    `resume`, from its last checkpoint, to the same final weights bit for bit. Without a checkpoint
    `resume` begins at the beginning. `console` shows a progress bar.

    Raises: NonFiniteError with the step and the term; the last checkpoint stays as it was.
    ValueError where `out` holds another run or cannot be written.
    """
    panel, task = build(config), make_task(config, dataset)
    # a model that does not fit the data must fail before the folder is claimed; no running
    # statistic may move by this
    first = task.batch(0, 0)
    with panel.evaluating():
        panel.terms(task.prepare(panel, first, Key(0), None), task.noise(panel, first, Key(0)))
    folder = RunFolder(Path(out))
    folder.begin(config, dataset, resume)
    trainer = Trainer(config, task, folder, panel)
    if resume:
        trainer.restore()
    # a run that diverges is told by its step and term, not by a warning from within a product
    quiet = np.errstate(over="ignore", invalid="ignore")
    with _progress(console) as progress, _stop_on_interrupt() as stop, quiet:
        trainer.run(progress, stop)
    at = trainer.position
    return Outcome(folder, trainer.panel, at.step, at.seconds, stop.is_set())


class Trainer:
    """The loop, and what it writes."""

    def __init__(self, config: RunConfig, task: Task, folder: RunFolder, panel: Panel) -> None:
        self.config, self.task, self.folder, self.panel = config, task, folder, panel
        self.key = Key(config.seed)
        self.position = Position()
        self.state: Any = None

    def run(self, progress: Progress, stop: threading.Event) -> None:
        """From the current position to the last epoch, or until `stop` is set."""
        at, per_epoch = self.position, self.task.steps_per_epoch
        total = self.config.epochs * per_epoch
        bar = progress.add_task(self.config.backend, total=total, completed=at.step, told="")
        while at.step < total and not stop.is_set():
            epoch, first = divmod(at.step, per_epoch)
            for i in range(first, per_epoch):
                if not self.task.carries(i):
                    self.state = None
                terms = self.step(self.task.batch(epoch, i), epoch)
                progress.update(bar, completed=at.step, told=self._told(epoch, terms))
                if at.step % per_epoch == 0:
                    break  # end_epoch saves: a checkpoint here would skip it on resuming
                if at.step % self.config.checkpoint_every == 0 or stop.is_set():
                    self.save()
                if stop.is_set():
                    break
            if at.step == (epoch + 1) * per_epoch:
                self.end_epoch(epoch)
        save(self.panel.model, self.folder.last_file)

    def step(self, batch: Any, epoch: int) -> dict[str, float]:
        """One optimiser step; returns the loss terms before it, nats per example."""
        at = self.position
        begun = time.perf_counter()
        key = self.key.fold_in(at.step)
        size = self.task.size(batch)
        noise = self.task.noise(self.panel, batch, key.fold_in("noise"))
        prepared = self.task.prepare(self.panel, batch, key, self.state)
        terms, self.state = self.panel.gradients(prepared, noise)
        broken = [f"{name} is {value}" for name, value in terms.items() if not math.isfinite(value)]
        if broken:
            raise NonFiniteError(f"step {at.step}: loss term {', '.join(broken)}")
        self.panel.step(self.config.lr_at(epoch), self.config.clip)
        terms = per_example(self.panel.model.config, terms, size)
        at.seconds += time.perf_counter() - begun
        at.step += 1
        at.seen += size
        at.count += self.task.count(batch)
        for name, value in terms.items():
            at.sums[name] = at.sums.get(name, 0.0) + value * size
        if at.step <= LOG_EACH or at.step % self.config.log_every == 0:
            self.folder.log({"kind": "step", "step": at.step, "epoch": epoch, **terms})
        return terms

    def end_epoch(self, epoch: int) -> None:
        """Validate, log, keep the best weights, save."""
        at = self.position
        self.arrays()  # before validation, which would trip over a broken weight and not name it
        valid = self.task.validate(self.panel)
        record = {"kind": "epoch", "step": at.step, "epoch": epoch, "lr": self.config.lr_at(epoch)}
        record |= {"train": {name: value / at.seen for name, value in at.sums.items()}}
        record |= {"valid": valid, "seconds": at.seconds}
        at.seen, at.sums = 0, {}
        loss = next(iter(valid.values()))
        if loss < at.best_loss:
            at.best_epoch, at.best_loss = epoch, loss
            save(self.panel.model, self.folder.best_file)
        self.folder.log(record)
        self.save()

    def arrays(self) -> dict[str, Any]:
        """What a checkpoint holds. Raises: NonFiniteError rather than keep a broken weight."""
        arrays = {f"model.{name}": a for name, a in self.panel.weights().items()}
        arrays |= {f"optimizer.{name}": a for name, a in self.panel.optimizer_state().items()}
        arrays |= {f"state.{name}": a for name, a in self.panel.state_arrays(self.state).items()}
        broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
        if broken:
            raise NonFiniteError(f"step {self.position.step}: NaN or inf in {', '.join(broken)}")
        return arrays

    def save(self) -> None:
        """Replace the checkpoint. Raises: NonFiniteError as `arrays` does."""
        position = vars(self.position) | {"best_loss": repr(self.position.best_loss)}
        key = {"seed": self.key.seed, "path": self.key.path}
        save_arrays(self.folder.checkpoint_file, self.arrays(), {"position": position, "key": key})

    def restore(self) -> None:
        """Go to the checkpoint, where there is one."""
        file = self.folder.checkpoint_file
        if not file.exists():
            self.folder.rewind(step=0)
            return
        arrays, metadata = load_arrays(file)
        if "position" not in metadata:
            raise ValueError(f"{file}: not a checkpoint (no position in its metadata)")
        self.panel.load_weights(_under("model.", arrays), source=str(file))
        self.panel.load_optimizer_state(_under("optimizer.", arrays))
        self.state = self.panel.load_state(_under("state.", arrays))
        position = metadata["position"]
        self.position = Position(**position | {"best_loss": float(position["best_loss"])})
        self.folder.rewind(self.position.step)

    def _told(self, epoch: int, terms: dict[str, float]) -> str:
        parts = "  ".join(f"{name} {value:.2f}" for name, value in terms.items())
        rate = self.position.count / max(self.position.seconds, 1e-9)
        return f"epoch {epoch + 1}/{self.config.epochs}  {parts}  {rate:,.0f} {self.task.unit}/s"


def _under(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description:>6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
        console=console or Console(quiet=True),
        disable=console is None,
    )


@contextlib.contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C (or SIGTERM) sets, where a handler may be set: in the main thread."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
