"""The folder of a run.

run.json                 the settings, a summary of the data, versions; rewritten only by a
                         resumed run that changes settings
metrics.jsonl            one JSON object a line: training steps and epochs
checkpoint.safetensors   weights, their average, optimiser and position, replaced whole
weights.safetensors      the last weights, or their average where the run keeps one
best.safetensors         the same at the epoch with the best validation loss
pictures/                samples and reconstructions of some epochs, where `pictures` is set
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import diptych
from diptych.data import Data
from diptych.files import write_atomically
from diptych.runs.config import RunConfig
from diptych.runs.environment import command_line, environment
from diptych.runs.old_versions import upgraded, version_of
from diptych.runs.resuming import check_resumable, model_config


@dataclass
class RunFolder:
    """The files of one run in one folder."""

    path: Path
    """of the folder; a string becomes a Path"""
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = Path(self.path)

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
        """Claim the folder for this run of `ranks` processes, or check that it may be resumed.

        Raises: ValueError where a run (or a part of one) is there already, or where `resume`
        finds other data, or settings that a resumed run cannot change (see `check_resumable`).
        """
        if not self.settings_file.exists():
            stray = [f.name for f in self._files() if f.exists()]
            if stray:
                raise ValueError(f"{self.path}: holds {', '.join(stray)} but no run.json")
            settings: dict[str, Any] = {"command": command_line(), "config": asdict(config)}
            settings |= {"data": dataset.summary, "data_digest": digest(dataset), "ranks": ranks}
            self._write_settings(settings | environment())
            return
        if not resume:
            raise ValueError(
                f"{self.path}: holds a run already; --resume it, or take another --out"
            )
        check_resumable(self.path, self.config(), config)
        if self.settings().get("data_digest") != digest(dataset):
            raise ValueError(f"{self.path}: cannot resume on other data: now {dataset.summary}")
        self.metrics = read_metrics(self.metrics_file)  # a finished run is returned with its lines

    def resume(self, config: RunConfig) -> None:
        """Take over the settings that the resumed run changes, and remove half-written files."""
        if asdict(config) != asdict(self.config()):
            settings = self.settings()
            settings["resumed"] = [*settings.get("resumed", []), command_line()]
            settings["config"] = asdict(config)
            settings["versions"] = environment()["versions"]
            self._write_settings(settings)
        for file in self._files():  # a killed write leaves its temporary file
            for orphan in self.path.glob(f".{file.name}.*"):
                orphan.unlink()

    def _files(self) -> list[Path]:
        return [self.metrics_file, self.checkpoint_file, self.last_file, self.best_file]

    def _write_settings(self, settings: dict[str, Any]) -> None:
        write_atomically(self.settings_file, (json.dumps(settings, indent=1) + "\n").encode())

    def config(self) -> RunConfig:
        """The settings of the run, also of one that an older version of diptych wrote.

        Raises: ValueError where there are none, or where this version has no such settings.
        """
        settings = self.settings()
        try:
            config = RunConfig(**upgraded(settings["config"]))
            model_config(config)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.settings_file}: not the settings of a run ({error}); written by diptych "
                f"{version_of(settings)}, read by {diptych.__version__}"
            ) from None
        return config

    def settings(self) -> dict[str, Any]:
        """The contents of run.json. Raises ValueError where there is none, or it is not JSON."""
        try:
            settings = json.loads(self.settings_file.read_text())
        except OSError as error:
            reason = f"{self.settings_file.name}: {error.strerror}"
            raise ValueError(f"{self.path}: not a run folder ({reason})") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.settings_file}: not the settings of a run ({error})") from None
        if not isinstance(settings, dict):
            raise ValueError(f"{self.settings_file}: not the settings of a run (no JSON object)")
        return settings

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the metrics."""
        self.metrics.append(record)
        with self.metrics_file.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def rewind(self, step: int) -> None:
        """Drop metrics later than `step`: a killed run may have logged past its checkpoint."""
        lines = read_metrics(self.metrics_file)
        if any("step" not in line for line in lines):
            raise ValueError(f"{self.metrics_file}: a line has no step")
        self.metrics = [line for line in lines if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in self.metrics)
        write_atomically(self.metrics_file, text.encode())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a metrics file; a last line that was cut off is left out."""
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
    """BLAKE2b of the arrays that a run is trained and validated on."""
    result = hashlib.blake2b(digest_size=16)
    for array in dataset.contents:
        result.update(str(array.shape).encode() + array.tobytes())
    return result.hexdigest()
