"""The training loop for both panels, and what it writes.

Everything random is addressed by epoch or step from the run's key, so the loop has no hidden
state: weights, their average, optimiser, step number and, of a recurrent model, the state it
carries are all that a resumed run needs to go on bit for bit.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from diptych import figures
from diptych.evaluation.elbo import per_example
from diptych.files import load_arrays, save_arrays
from diptych.panels import Panel
from diptych.panels.ranks import Ranks
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder
from diptych.tasks import Task
from diptych.weights import save
from model_specs.common.key import Key

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

    def is_over(self, epoch: int, config: RunConfig) -> bool:
        """Whether `epoch`, the last that ended, is where the run ends."""
        waited = epoch - self.best_epoch
        return config.patience is not None and waited >= config.patience


class Trainer:
    """The loop, and what it writes."""

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        folder: RunFolder,
        panel: Panel,
        ranks: Ranks = Ranks(),  # noqa: B008  (immutable)
    ) -> None:
        self.config, self.task, self.folder, self.panel = config, task, folder, panel
        self.ranks = ranks
        self.key = Key(config.seed)
        self.position = Position()
        self.state: Any = None
        if config.polyak is not None:
            panel.keep_average(config.polyak)

    def run(self, progress: Progress, stop: threading.Event) -> bool:
        """From the current position to the last epoch, or until `stop` is set, as is returned."""
        at, per_epoch = self.position, self.task.steps_per_epoch
        total = self.config.epochs * per_epoch
        bar = progress.add_task(self.config.backend, total=total, completed=at.step, message="")
        if at.step == 0:
            self._initialize()
        stopped = False  # what all ranks agreed on: one that stopped alone would leave them waiting
        while at.step < total and not stopped:
            epoch, first = divmod(at.step, per_epoch)
            if first == 0 and epoch and at.is_over(epoch - 1, self.config):
                break
            for i in range(first, per_epoch):
                if not self.task.carries(i):
                    self.state = None
                terms = self.step(self.task.batch(epoch, i), epoch)
                progress.update(bar, completed=at.step, message=self._told(epoch, terms))
                stopped = self.ranks.any(stop.is_set())
                if at.step % per_epoch == 0:
                    break  # end_epoch saves: a checkpoint here would skip it on resuming
                if at.step % self.config.checkpoint_every == 0 or stopped:
                    self.save()
                if stopped:
                    break
            if at.step == (epoch + 1) * per_epoch:
                self.end_epoch(epoch)
        if self.ranks.first:
            self._save_weights(self.folder.last_file)
        return stopped and at.step < total

    def step(self, batch: Any, epoch: int) -> dict[str, float]:
        """One optimiser step; returns the loss terms before it, nats per example."""
        at = self.position
        begun = time.perf_counter()
        key = self.key.fold_in(at.step)
        size = self.task.size(batch)
        rows, share = self.ranks.shard(size, self._reduction)
        noise = self.task.noise(self.panel, batch, key.fold_in("noise"), rows)
        prepared = self.task.prepare(self.panel, batch, key, self.state)
        part = prepared[rows] if self.ranks.size > 1 else prepared
        terms, self.state = self.panel.forward_backward(part, noise, share)
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
        logged = at.step <= LOG_EACH or at.step % self.config.log_every == 0
        if logged and self.ranks.first:
            self.folder.log({"kind": "step", "step": at.step, "epoch": epoch, **terms})
        return terms

    def end_epoch(self, epoch: int) -> None:
        """Validate, log, keep the best weights, save."""
        at = self.position
        self.arrays()  # before validation, which would trip over a broken weight and not name it
        valid = self.ranks.broadcast(lambda: self.task.validate(self.panel))
        record = {"kind": "epoch", "step": at.step, "epoch": epoch, "lr": self.config.lr_at(epoch)}
        record |= {"train": {name: value / at.seen for name, value in at.sums.items()}}
        record |= {"valid": valid, "seconds": at.seconds}
        record |= {"ranks": self.ranks.size} if self.ranks.size > 1 else {}
        at.seen, at.sums = 0, {}
        name, loss = next(iter(valid.items()))
        if not math.isfinite(loss):
            raise NonFiniteError(f"step {at.step}: {name} on validation is {loss}")
        best = loss < at.best_loss
        if best:
            at.best_epoch, at.best_loss = epoch, loss
        if self.ranks.first:
            if best:
                self._save_weights(self.folder.best_file)
            self.folder.log(record)
            self._draw(epoch)
        self.save()

    def arrays(self) -> dict[str, Any]:
        """What a checkpoint holds. Raises: NonFiniteError rather than keep a broken weight."""
        arrays = {f"model.{name}": a for name, a in self.panel.weights().items()}
        arrays |= {f"average.{name}": a for name, a in self.panel.average_state().items()}
        arrays |= {f"optimizer.{name}": a for name, a in self.panel.optimizer_state().items()}
        arrays |= {f"state.{name}": a for name, a in self.panel.state_arrays(self.state).items()}
        broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
        if broken:
            raise NonFiniteError(f"step {self.position.step}: NaN or inf in {', '.join(broken)}")
        return arrays

    def save(self) -> None:
        """Replace the checkpoint. Raises: NonFiniteError as `arrays` does."""
        if not self.ranks.first:
            return
        position = vars(self.position) | {"best_loss": repr(self.position.best_loss)}
        key = {"seed": self.key.seed, "path": self.key.path}
        save_arrays(self.folder.checkpoint_file, self.arrays(), {"position": position, "key": key})

    def restore(self) -> None:
        """Go to the checkpoint, where there is one."""
        file = self.folder.checkpoint_file
        if not file.exists():
            self._rewind(step=0)
            return
        arrays, metadata = load_arrays(file)
        if "position" not in metadata:
            raise ValueError(f"{file}: not a checkpoint (no position in its metadata)")
        self.panel.load_weights(_under("model.", arrays), source=str(file))
        self.panel.load_average(_under("average.", arrays))
        self.panel.load_optimizer_state(_under("optimizer.", arrays))
        self.state = self.panel.load_state(_under("state.", arrays))
        position = metadata["position"]
        self.position = Position(**position | {"best_loss": float(position["best_loss"])})
        first = self.ranks.broadcast(lambda: self.position.step)
        if self.ranks.any(self.position.step != first):
            raise ValueError(f"{file}: not the same on every rank, rank 0 stands at step {first}")
        self._rewind(self.position.step)

    def _initialize(self) -> None:
        """By the first batch as the first step sees it, whole on every rank: all do the same."""
        batch, key = self.task.batch(0, 0), self.key.fold_in(0)
        whole = slice(0, self.task.size(batch))
        noise = self.task.noise(self.panel, batch, key.fold_in("initialize"), whole)
        self.panel.initialize(self.task.prepare(self.panel, batch, key, None), noise)

    def _save_weights(self, file: Path) -> None:
        """As an evaluation sees them."""
        with self.panel.averaged():
            save(self.panel.model, file)

    def _rewind(self, step: int) -> None:
        self.ranks.broadcast(lambda: self.folder.rewind(step))

    def _draw(self, epoch: int) -> None:
        """Pictures of the epochs that are to have some: every `pictures`th, counted from 1."""
        if self.config.pictures is None or (epoch + 1) % self.config.pictures:
            return
        for name, figure in self.task.pictures(self.panel).items():
            figures.save(figure, self.folder.path / "pictures" / f"{name}-{epoch + 1:04}.png")

    @property
    def _reduction(self) -> str:
        return getattr(self.panel.model.config, "reduction", "mean")

    def _told(self, epoch: int, terms: dict[str, float]) -> str:
        parts = "  ".join(f"{name} {value:.2f}" for name, value in terms.items())
        rate = self.position.count / max(self.position.seconds, 1e-9)
        return f"epoch {epoch + 1}/{self.config.epochs}  {parts}  {rate:,.0f} {self.task.unit}/s"


def _under(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
