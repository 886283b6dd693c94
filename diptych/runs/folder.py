"""The folder of a run.

run.json                 the settings, the data found, versions; written once
metrics.jsonl            one JSON object a line: training steps and epochs
checkpoint.safetensors   weights, their average, optimiser and position, replaced whole
weights.safetensors      the last weights, averaged where that was asked for
best.safetensors         those of the epoch with the best validation loss
pictures/                samples and reconstructions of some epochs, where they were asked for
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from diptych.data import Data
from diptych.files import write_atomically
from diptych.runs.config import RunConfig
from diptych.runs.environment import command_line, environment


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
            settings |= {"data": dataset.summary, "data_digest": seen, "ranks": ranks}
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
            message = "; ".join(f"{k} was {theirs.get(k)!r}, now {ours[k]!r}" for k in other)
            raise ValueError(f"{self.path}: cannot resume with other settings: {message}")
        if self.settings().get("data_digest") != seen:
            raise ValueError(f"{self.path}: cannot resume on other data: now {dataset.summary}")
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
    result = hashlib.blake2b(digest_size=16)
    for array in dataset.contents:
        result.update(str(array.shape).encode() + array.tobytes())
    return result.hexdigest()
