"""The folder of a run.

run.json                 the settings, a summary of the data, and the versions; it changes only if
                         the run is resumed with other settings
vocabulary.json          the tokens of a run on text, so that sampling needs no corpus
metrics.jsonl            one JSON object per line, for training steps and for epochs
checkpoint.safetensors   weights, their average, optimiser and position; replaced atomically
weights.safetensors      the last weights, or their average if the run keeps one
best.safetensors         the same at the epoch with the lowest validation loss
pictures/                samples and reconstructions of some epochs, if `pictures` is set
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import diptych
from diptych.data import Corpus, Data
from diptych.files import write_atomically, write_json
from diptych.runs.config import RunConfig
from diptych.runs.data_identity import data_digests, differing_parts
from diptych.runs.environment import command_line, environment
from diptych.runs.old_versions import upgraded, version_of
from diptych.runs.resuming import check_resumable, model_config
from diptych.runs.vocabulary import write_vocabulary


@dataclass
class RunFolder:
    """The files of one run in one folder."""

    path: Path
    """The path of the folder; a string is converted to a Path."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """The lines of metrics that this run has logged or read."""

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

        Raises: ValueError if the folder holds a run or a part of one; with `resume`, if the data
        differ, or a setting that a resumed run cannot change (see `check_resumable`).
        """
        if not self.settings_file.exists():
            remains = [f.name for f in self._files() if f.exists()]
            if remains:
                raise ValueError(f"{self.path}: holds {', '.join(remains)} but no run.json")
            settings: dict[str, Any] = {"command": command_line(), "config": asdict(config)}
            settings |= {
                "data": dataset.summary,
                "data_digests": data_digests(dataset),
                "ranks": ranks,
            }
            if isinstance(dataset, Corpus):
                write_vocabulary(self.path, dataset.vocabulary)
            write_json(self.settings_file, settings | environment())
            return
        if not resume:
            raise ValueError(
                f"{self.path}: holds a run already; --resume it, or take another --out"
            )
        check_resumable(self.path, self.config(), config)
        if parts := differing_parts(self.settings(), dataset):
            raise ValueError(
                f"{self.path}: cannot resume on other data, which differ in the "
                f"{' and '.join(parts)}: now {dataset.summary}"
            )
        self.metrics = read_metrics(self.metrics_file)  # a finished run is returned with its lines

    def resume(self, config: RunConfig) -> None:
        """Store the settings that the resumed run changes, and remove temporary files."""
        if asdict(config) != asdict(self.config()):
            settings = self.settings()
            settings["resumed"] = [*settings.get("resumed", []), command_line()]
            settings["config"] = asdict(config)
            settings["versions"] = environment()["versions"]
            write_json(self.settings_file, settings)
        for file in self._files():  # a killed write leaves its temporary file
            for orphan in self.path.glob(f".{file.name}.*"):
                orphan.unlink()

    def _files(self) -> list[Path]:
        return [self.metrics_file, self.checkpoint_file, self.last_file, self.best_file]

    def config(self) -> RunConfig:
        """Return the settings of the run; those of an older version of diptych are translated.

        Raises: ValueError if there are none, or if this version does not know them.
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
        """Return the contents of run.json. Raises: ValueError if it is missing or is not JSON."""
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
    """Read a metrics file; a last line that was cut off is skipped."""
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
