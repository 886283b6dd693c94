"""The folder of a run.

run.json                 the settings, a summary of the data, the versions and conditions, and a
                         digest of them; a resumption adds its own conditions and settings
vocabulary.json          the tokens of a run on text, so that sampling needs no corpus
metrics.jsonl            one JSON object per line, for training steps and for epochs
checkpoint.safetensors   weights, their average, optimiser and position; replaced atomically
weights.safetensors      the last weights, or their average if the run keeps one
best.safetensors         the same at the epoch with the lowest validation loss
pictures/                samples and reconstructions of some epochs, if `pictures` is set
.lock                    the process that writes here, while it does

Each safetensors file has a digest of its own, and the checkpoint one of the metrics before it.
`diptych verify` checks them all.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from typing import Any

from diptych.data import Corpus, Data
from diptych.files import (
    reading,
    write_json,
)
from diptych.files.lock import locked
from diptych.runs import schema
from diptych.runs.conditions import conditions, differing_conditions
from diptych.runs.config import RunConfig
from diptych.runs.data_identity import data_digests, differing_parts
from diptych.runs.environment import command_line, environment
from diptych.runs.metrics import (
    Extent,
    MetricsFile,
    check_extent,
    read_metrics,
)
from diptych.runs.resuming import check_resumable
from diptych.runs.run_files import RunFiles
from diptych.runs.vocabulary import FILE as VOCABULARY
from diptych.runs.vocabulary import write_vocabulary

__all__ = ["RunFolder", "read_metrics"]


@dataclass
class RunFolder(RunFiles):
    """The files of one run in one folder."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    """The lines of metrics that this run has logged or read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._log = MetricsFile(self.metrics_file)
        self._is_new = False

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Context in which no other process writes into the folder (see diptych.files.lock)."""
        return locked(self.path)

    def begin(self, config: RunConfig, dataset: Data, resume: bool, ranks: int = 1) -> None:
        """Claim the folder for this run of `ranks` processes, or check that it may be resumed.

        Raises: ValueError if the folder holds a run or a part of one; with `resume`, if the data
        differ, or a setting that a resumed run cannot change (see `check_resumable`).
        """
        if not self.settings_file.exists():
            remains = [f.name for f in self._files() if f.exists()]
            if remains:
                raise ValueError(f"{self.path}: holds {', '.join(remains)} but no run.json")
            settings: dict[str, Any] = {"schema": schema.SCHEMA, "command": command_line()}
            settings["config"] = asdict(config)
            settings |= {
                "data": dataset.summary,
                "data_digests": data_digests(dataset),
                "ranks": ranks,
                "conditions": conditions(config.device, ranks),
            }
            if isinstance(dataset, Corpus):
                write_vocabulary(self.path, dataset.vocabulary)
            self._write(settings | environment())
            self._is_new = True
            return
        if not resume:
            raise ValueError(
                f"{self.path}: holds a run already; --resume it, or take another --out"
            )
        self.metrics = read_metrics(self.metrics_file)  # a finished run is returned with its lines
        before = self.config()
        ended = sum(line.get("kind") == "epoch" for line in self.metrics)
        check_resumable(self.path, before, config, begun=min(ended + 1, before.epochs))
        if parts := differing_parts(self.settings(), dataset):
            raise ValueError(
                f"{self.path}: cannot resume on other data, which differ in the "
                f"{' and '.join(parts)}: now {dataset.summary}"
            )

    def resume(self, config: RunConfig, dataset: Data, step: int, ranks: int = 1) -> str:
        """Store the conditions and settings of the resumed run, and remove temporary files.

        `step` is that of the checkpoint. Returns: a line that says which conditions differ from
        those of the earlier steps, or "" if bit-equality with an uninterrupted run is expected.
        """
        if self._is_new:  # --resume without a run to resume
            return ""
        settings, now = self.settings(), conditions(config.device, ranks)
        with reading(self.settings_file):
            differences = differing_conditions(settings, now)
        resumption = {"command": command_line(), "step": step, "conditions": now}
        settings["resumed"] = [*settings.get("resumed", []), resumption]
        if asdict(config) != asdict(self.config()):
            settings["config"] = asdict(config)
            settings["versions"] = environment()["versions"]
        if "data_digests" not in settings:  # an old run, which from now on knows all of its data
            settings["data_digests"] = data_digests(dataset)
            if isinstance(dataset, Corpus):
                write_vocabulary(self.path, dataset.vocabulary)
        self._write(settings)
        for file in (
            self.settings_file,
            self.path / VOCABULARY,
            *self._files(),
        ):  # of killed writes
            for orphan in self.path.glob(f".{file.name}.*"):
                orphan.unlink()
        if not differences:
            return ""
        return (
            f"{self.path}: resumed under other conditions, so the weights may differ by rounding "
            f"from those of an uninterrupted run: {differences}"
        )

    def _write(self, settings: dict[str, Any]) -> None:
        """Write run.json; a run that began without digests stays without them."""
        signed = schema.signed(settings) if schema.has_digests(settings) else settings
        write_json(self.settings_file, signed)

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the metrics."""
        self.metrics.append(record)
        self._log.append(record)

    def log_stop(self, step: int, reason: str) -> None:
        """Append the line of a run that cannot go on; a resumed run drops it."""
        self.log({"kind": "stop", "step": step, "reason": reason})

    def extent(self) -> Extent:
        """Return the extent of the metrics so far, as a checkpoint stores it."""
        return self._log.extent()

    def rewind(self, step: int) -> None:
        """Drop metrics that are later than the checkpoint, whose step is `step`.

        A killed run may have logged past its checkpoint.
        Raises: ValueError if lines before the checkpoint are lost or changed.
        """
        extent = self.counted()
        if not self.checkpoint_file.exists() and self.last_file.exists():
            raise ValueError(
                f"{self.checkpoint_file}: no such file, though {self.last_file.name} was written "
                "after it"
            )
        if extent is None:  # no checkpoint, or one of a version that counted no lines
            lines = read_metrics(self.metrics_file)
            late = [n for n, r in enumerate(lines) if r["step"] > step or r.get("kind") == "stop"]
            self._log.cut(min(late, default=len(lines)))
        else:
            check_extent(self.metrics_file, extent)
            self._log.cut(extent.lines)
        self.metrics = read_metrics(self.metrics_file)
