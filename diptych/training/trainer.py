"""The training loop for both panels, and the files that it writes.

Everything random is addressed by epoch or step from the run's key, so the loop has no hidden
state. A resumed run continues bit for bit from the weights, their average, the optimiser's state,
the step number and the state that a recurrent model carries.
"""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress, TaskID

from diptych import figures
from diptych.files import load_arrays, reading, save_arrays
from diptych.panels import Panel
from diptych.panels.ranks import Ranks
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder
from diptych.tasks import Task
from diptych.training import checkpoint
from diptych.training.position import Position
from diptych.training.resident import LINES, ResidentStep
from diptych.training.step import NonFiniteError, check_finite, training_step
from diptych.weights import to_arrays
from model_specs.common.key import Key

LOG_EACH = 100
"""Each of the first LOG_EACH steps is logged, while the curves of the two panels still coincide."""
REFRESH = 0.1
"""Seconds between two updates of the progress bar, which redraws itself ten times a second."""


class Trainer:
    """The training loop of one run in its folder.

    With `is_resident` the steps are those of diptych.training.resident, with the same numbers.
    """

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        folder: RunFolder,
        panel: Panel,
        ranks: Ranks = Ranks(),  # noqa: B008  (immutable)
        *,
        is_resident: bool = False,
    ) -> None:
        self.config, self.task, self.folder, self.panel = config, task, folder, panel
        self.ranks, self.is_resident = ranks, is_resident
        self.resident: ResidentStep | None = None
        self.writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self.key = Key(config.seed)
        self.position = Position()
        self.state: Any = None
        if config.polyak is not None:
            panel.keep_average(config.polyak)

    @property
    def epoch(self) -> int:
        """The epoch of the next step, counted from 0."""
        return self.position.step // self.task.steps_per_epoch

    @property
    def finished(self) -> bool:
        """True if no step is left."""
        position, left = self.position, self.epoch < self.config.epochs
        starts_epoch = position.step > 0 and position.step % self.task.steps_per_epoch == 0
        return not left or (starts_epoch and position.is_over(self.epoch - 1, self.config))

    def run(self, progress: Progress, stop: threading.Event) -> bool:
        """Train to the last epoch, or until `stop` is set; return True if it stopped early."""
        total = self.config.epochs * self.task.steps_per_epoch
        name, step = self.config.backend, self.position.step
        bar = progress.add_task(name, total=total, completed=step, message="")
        if step == 0:
            self._initialize()
        if not self.is_resident:
            return self._run(progress, bar, stop)
        panel: Any = self.panel
        self.resident = ResidentStep(panel, self.task, self.state)
        with ThreadPoolExecutor(1, "writer") as self.writer:
            try:
                return self._run(progress, bar, stop)
            finally:
                self._wait()

    def _run(self, progress: Progress, bar: TaskID, stop: threading.Event) -> bool:
        position, per_epoch = self.position, self.task.steps_per_epoch
        stopped = False  # the same on all ranks: if one stopped alone, the others would wait for it
        shown = 0.0
        while not self.finished and not stopped:
            epoch = self.epoch
            terms = self.step() if self.resident is None else self.resident_steps(stop)
            if time.perf_counter() - shown > REFRESH or self.finished:
                progress.update(bar, completed=position.step, message=self._message(epoch, terms))
                shown = time.perf_counter()
            stopped = self.ranks.any(stop.is_set())
            if position.step % per_epoch == 0:
                self.end_epoch(epoch)
            elif position.step % self.config.checkpoint_every == 0 or stopped:
                self.save()
        if self.ranks.first:
            self._save_weights(self.folder.last_file)
        return stopped and not self.finished

    def step(self) -> dict[str, float]:
        """Take one optimiser step; return the loss terms before it, per example."""
        position, epoch, start = self.position, self.epoch, time.perf_counter()
        batch = self.task.training_batch(self.panel, position.step, self.state, ranks=self.ranks)
        try:
            result = training_step(self.panel, batch, self.config.lr_at(epoch), self.config.clip)
        except NonFiniteError as error:
            raise NonFiniteError(f"step {position.step}: {error}") from None
        self.state = result.state
        self._count(epoch, batch.size, batch.units, result.terms, time.perf_counter() - start)
        return result.terms

    def resident_steps(self, stop: threading.Event) -> dict[str, float]:
        """Take the steps to the next checkpoint, or until `stop`; return the last one's terms.

        An error names the step with which it began, though later steps were taken.
        """
        assert self.resident is not None
        position, epoch, start = self.position, self.epoch, time.perf_counter()
        before = self.resident.startup_seconds
        every = (self.task.steps_per_epoch, self.config.checkpoint_every)
        count = min(LINES, *(n - position.step % n for n in every))
        for number in range(position.step, position.step + count):
            self.resident.step(number)
            if stop.is_set():
                break
        results = self.resident.read()
        self.state = self.resident.state
        seconds = time.perf_counter() - start - (self.resident.startup_seconds - before)
        terms: dict[str, float] = {}
        for result in results:
            terms = result.terms()
            try:
                check_finite(terms)
            except NonFiniteError as error:
                raise NonFiniteError(f"step {position.step}: {error}") from None
            self._count(epoch, result.size, result.units, terms, seconds / len(results))
        return terms

    def _count(
        self, epoch: int, size: int, units: int, terms: dict[str, float], seconds: float
    ) -> None:
        """Count one more step, and write its line of metrics if one is due."""
        position = self.position
        position.add(size, units, terms, seconds)
        logged = position.step <= LOG_EACH or position.step % self.config.log_every == 0
        if logged and self.ranks.first:
            self.folder.log({"kind": "step", "step": position.step, "epoch": epoch, **terms})

    def end_epoch(self, epoch: int) -> None:
        """Validate, log, keep the best weights, save; a final fit has no validation."""
        position = self.position
        arrays = self.arrays()  # checked here: validation would fail without the weight's name
        valid = self._validate() if self.config.validates else {}
        lr, means = self.config.lr_at(epoch), position.means()
        record = {"kind": "epoch", "step": position.step, "epoch": epoch, "lr": lr}
        record |= {"train": means, "valid": valid, "seconds": position.seconds}
        record |= {"ranks": self.ranks.size} if self.ranks.size > 1 else {}
        loss = next(iter(valid.values()), math.inf)
        best = loss < position.best_loss
        if best:
            position.best_epoch, position.best_loss = epoch, loss
        if self.ranks.first:
            if best:
                self._save_weights(self.folder.best_file)
            self.folder.log(record)
            self._draw(epoch)
        self.save(arrays)

    def _validate(self) -> dict[str, float]:
        """Return the scores of the validation set. Raises: NonFiniteError if the first is not."""
        valid = self.ranks.broadcast(lambda: self.task.validate(self.panel))
        name, loss = next(iter(valid.items()))
        if not math.isfinite(loss):
            raise NonFiniteError(f"step {self.position.step}: {name} on validation is {loss}")
        return valid

    def arrays(self) -> dict[str, Any]:
        """The arrays of a checkpoint. Raises: NonFiniteError if a weight is NaN or inf."""
        arrays = {f"model.{name}": a for name, a in self.panel.weights().items()}
        arrays |= {f"average.{name}": a for name, a in self.panel.average_state().items()}
        arrays |= {f"optimizer.{name}": a for name, a in self.panel.optimizer_state().items()}
        arrays |= {f"state.{name}": a for name, a in self.panel.state_arrays(self.state).items()}
        broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
        if broken:
            raise NonFiniteError(f"step {self.position.step}: NaN or inf in {', '.join(broken)}")
        return arrays

    def save(self, arrays: dict[str, Any] | None = None) -> None:
        """Replace the checkpoint, by default of `arrays`. Raises: NonFiniteError as it does."""
        if self.ranks.first:
            arrays = self.arrays() if arrays is None else arrays
            metadata = checkpoint.metadata(self.position, self.key, self.folder.extent())
            self._write(self.folder.checkpoint_file, arrays, metadata)

    def restore(self) -> None:
        """Restore the checkpoint, if there is one.

        Raises: ValueError that names the checkpoint or the metrics if they are damaged, or do not
        fit the run.
        """
        file = self.folder.checkpoint_file
        if not file.exists():
            return
        arrays, metadata = self.folder.load_checkpoint()
        with reading(file):
            checkpoint.check_key(metadata, self.key)
            checkpoint.check_arrays(arrays, self.config, self.panel)
            position = checkpoint.position_of(metadata)
            position.check(self.config, self.task.steps_per_epoch)
            steps = int(arrays["optimizer.step"])
            if steps > position.step or (steps < position.step and self.config.amp != "fp16"):
                raise ValueError(f"step: got {position.step}, the optimiser is at {steps}")
            self.panel.load_weights(_under("model.", arrays))
            self.panel.load_average(_under("average.", arrays))
            self.panel.load_optimizer_state(_under("optimizer.", arrays))
            self.state = self.panel.load_state(_under("state.", arrays))
        self.position = position
        first = self.ranks.broadcast(lambda: self.position.step)
        if self.ranks.any(self.position.step != first):
            raise ValueError(f"{file}: differs between the ranks: rank 0 is at step {first}")

    def is_complete(self) -> bool:
        """True if the run is finished and its last weights are in their file."""
        file = self.folder.last_file
        if not self.finished or not file.exists():
            return False
        arrays, _ = load_arrays(file, digest_required=self.folder.has_digests)
        with self.panel.averaged():
            last = to_arrays(self.panel.model.state_dict())
            return arrays.keys() == last.keys() and all(
                np.array_equal(array, last[name]) for name, array in arrays.items()
            )

    def _initialize(self) -> None:
        """Initialise the weights from the whole first batch on every rank, so that all agree."""
        first = self.task.training_batch(self.panel, 0, stream="initialize")
        self.panel.initialize(first.inputs, first.noise)

    def _save_weights(self, file: Path) -> None:
        """Write the weights that an evaluation uses: the averages, if the run keeps them."""
        with self.panel.averaged():
            self._write(file, self.panel.weights(), {})

    def _write(self, file: Path, arrays: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Write a file of arrays, on the resident path while the next steps are taken.

        Files are written one after the other, each before the next begins.
        Raises: what the write before this one raised.
        """
        if self.writer is None:
            save_arrays(file, arrays, metadata)
            return
        self._wait()
        self._writing = self.writer.submit(save_arrays, file, arrays, metadata)

    def _wait(self) -> None:
        """Wait for the file that is being written."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _draw(self, epoch: int) -> None:
        """Write the pictures of every `pictures`th epoch, counted from 1."""
        if self.config.pictures is None or (epoch + 1) % self.config.pictures:
            return
        for name, figure in self.task.pictures(self.panel).items():
            figures.save(figure, self.folder.path / "pictures" / f"{name}-{epoch + 1:04}.png")

    def _message(self, epoch: int, terms: dict[str, float]) -> str:
        parts = "  ".join(f"{name} {value:.2f}" for name, value in terms.items())
        rate = self.position.units / max(self.position.seconds, 1e-9)
        return f"epoch {epoch + 1}/{self.config.epochs}  {parts}  {rate:,.0f} {self.task.unit}/s"


def _under(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
