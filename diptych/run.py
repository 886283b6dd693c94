"""A run and its folder: what was asked for, what was measured, and where it stands.

run.json                 the settings, the data found, versions; written once
metrics.jsonl            one JSON object a line: training steps and epochs
checkpoint.safetensors   weights, their average, optimiser and position, replaced whole
weights.safetensors      the last weights, averaged where that was asked for
best.safetensors         those of the epoch with the best validation loss
pictures/                samples and reconstructions of some epochs, where they were asked for
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from diptych import pairs
from diptych.data import Data
from diptych.engine import AMP, Engine
from diptych.panels import BACKENDS, OPTIMIZERS
from diptych.weights import write_atomically
from model_specs.fields import check_choice, check_positive_int, check_rate, check_real
from numpy_ref import optim

SCHEDULES = ("constant", "cosine", "step", "exponential", "hold")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers. Raises ValueError as the model configs do."""

    model: str
    model_config: dict[str, Any]
    data: str
    backend: str = "torch"
    binarize: bool = False
    """draw each pixel anew each time it is seen, 1 with the grey value as its probability"""
    dtype: str = "float32"
    device: str = "cpu"
    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "adam"
    lr: float = 1e-3
    schedule: str = "constant"
    """of the learning rate, by epoch: constant | cosine (to 0) | step (/2 at half, at 3/4 and at
    7/8 of the epochs) | exponential (to 1/100) | hold (`hold_epochs`, then `decay` at each)"""
    hold_epochs: int = 5
    decay: float = 0.5
    weight_decay: float = 0.0
    """this times the parameter is added to its gradient, after clipping"""
    polyak: float | None = None
    """decay of the running average of the weights that evaluations, pictures and the two files of
    weights take instead of the last ones (see PolyakAverage)"""
    clip: float | None = None
    """global norm of the gradient above which it is scaled down"""
    seed: int = 0
    checkpoint_every: int = 200
    """steps between checkpoints; one more at the end of each epoch"""
    log_every: int = 50
    """steps between lines of metrics"""
    patience: int | None = None
    """stop after so many epochs in a row that were not the best on validation"""
    pictures: int | None = None
    """epochs between pictures of samples and reconstructions, in RUN/pictures"""
    amp: str = "off"
    channels_last: bool = False
    compile: bool = False
    sync_batchnorm: bool = False
    """these four: see diptych.engine"""

    def __post_init__(self) -> None:
        pairs.get(self.model)
        check_choice("backend", self.backend, BACKENDS)
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        for name in ("epochs", "batch_size", "checkpoint_every", "log_every", "hold_epochs"):
            check_positive_int(name, getattr(self, name))
        check_real("lr", self.lr, above=0)
        check_real("decay", self.decay, above=0)
        check_real("weight_decay", self.weight_decay, above=0, inclusive=True)
        if self.clip is not None:
            check_real("clip", self.clip, above=0)
        if self.polyak is not None:
            check_rate("polyak", self.polyak)
        for name in ("patience", "pictures"):
            if getattr(self, name) is not None:
                check_positive_int(name, getattr(self, name))
        check_choice("amp", self.amp, AMP)

    @property
    def engine(self) -> Engine:
        """How torch is asked to compute."""
        return Engine(self.amp, self.channels_last, self.compile, self.sync_batchnorm)

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        n = self.epochs
        if self.schedule == "cosine":
            return optim.cosine_lr(self.lr, epoch, epochs=n)
        if self.schedule == "step":
            milestones = [math.ceil(n * part) for part in (0.5, 0.75, 0.875)]
            return optim.multi_step_lr(self.lr, epoch, milestones=milestones, gamma=0.5)
        if self.schedule == "exponential":
            return optim.exponential_lr(self.lr, epoch, gamma=0.01 ** (1 / n))
        if self.schedule == "hold":
            return optim.held_lr(self.lr, epoch, hold=self.hold_epochs, gamma=self.decay)
        return optim.constant_lr(self.lr, epoch)


@dataclass
class RunFolder:
    """The files of one run."""

    path: Path
    metrics: list[dict[str, Any]] = field(default_factory=list)

    @property
    def settings_file(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def last_file(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def best_file(self) -> Path:
        return self.path / "best.safetensors"

    def begin(self, config: RunConfig, dataset: Data, resume: bool, ranks: int = 1) -> None:
        """Claim the folder for this run of so many processes.

        Raises: ValueError where a run (or a part of one) is there already, or where `resume`
        finds other settings or other data.
        """
        ours, seen = asdict(config), digest(dataset)
        if not self.settings_file.exists():
            stray = [f.name for f in self._files() if f.exists()]
            if stray:
                raise ValueError(f"{self.path}: holds {', '.join(stray)} but no run.json")
            settings: dict[str, Any] = {"command": command_line(), "config": ours}
            settings |= {"data": dataset.found, "data_digest": seen, "ranks": ranks}
            settings |= environment()
            write_atomically(self.settings_file, (json.dumps(settings, indent=1) + "\n").encode())
            return
        if not resume:
            raise ValueError(
                f"{self.path}: holds a run already; --resume it, or take another --out"
            )
        theirs = asdict(self.config())
        other = [k for k in ours if ours[k] != theirs.get(k)]
        if other:
            told = "; ".join(f"{k} was {theirs.get(k)!r}, now {ours[k]!r}" for k in other)
            raise ValueError(f"{self.path}: cannot resume with other settings: {told}")
        if self.settings().get("data_digest") != seen:
            raise ValueError(f"{self.path}: cannot resume on other data: now {dataset.found}")
        for file in self._files():  # a killed write leaves its temporary file
            for orphan in self.path.glob(f".{file.name}.*"):
                orphan.unlink()

    def _files(self) -> list[Path]:
        return [self.metrics_file, self.checkpoint_file, self.last_file, self.best_file]

    def config(self) -> RunConfig:
        """The settings the run was begun with. Raises ValueError where there are none."""
        try:
            return RunConfig(**self.settings()["config"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self.settings_file}: not the settings of a run ({error})") from None

    def settings(self) -> dict[str, Any]:
        """What run.json says. Raises ValueError where there is none, or it is not JSON."""
        try:
            return json.loads(self.settings_file.read_text())
        except OSError as error:
            reason = f"{self.settings_file.name}: {error.strerror}"
            raise ValueError(f"{self.path}: not a run folder ({reason})") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.settings_file}: not the settings of a run ({error})") from None

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the metrics."""
        self.metrics.append(record)
        with self.metrics_file.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def rewind(self, step: int) -> None:
        """Forget metrics later than `step`: a killed run may have logged past its checkpoint."""
        lines = read_metrics(self.metrics_file)
        if any("step" not in line for line in lines):
            raise ValueError(f"{self.metrics_file}: a line has no step")
        self.metrics = [line for line in lines if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in self.metrics)
        write_atomically(self.metrics_file, text.encode())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            if number == len(lines):
                break
            raise ValueError(f"{path}: line {number} is not JSON") from None
    return records


def digest(dataset: Data) -> str:
    """BLAKE2b of the arrays that a run trains and is selected on."""
    found = hashlib.blake2b(digest_size=16)
    for array in dataset.contents:
        found.update(str(array.shape).encode() + array.tobytes())
    return found.hexdigest()


def command_line() -> str:
    """The command that this process was started with, as a user would type it."""
    return shlex.join(["diptych", *sys.argv[1:]])


def environment() -> dict[str, Any]:
    """What a number depends on besides the settings: machine, versions, commit."""
    packages = ("numpy", "scipy", "torch", "safetensors")
    return {
        "machine": f"{platform.machine()}, {_cpu_model()}, {_cpu_count()} cores",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "commit": _commit(),
    }


def device_name(device: str) -> str:
    """ "cpu", or the model of the GPU."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "unknown")


def _cpu_count() -> int:
    return os.cpu_count() or 1


def _commit() -> str | None:
    """The commit of this checkout, with "+" where it has changes; None outside of one."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
