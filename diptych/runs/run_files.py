"""Reading the files of a run: settings, checkpoint, metrics and weights, with their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import diptych
from diptych.files import check_has_digest, load_arrays, load_metadata, read_json
from diptych.runs import schema
from diptych.runs.config import RunConfig
from diptych.runs.metrics import (
    Extent,
    History,
    check_extent,
    history,
    parse_extent,
    read_metrics,
)
from diptych.runs.old_versions import upgraded, version_of
from diptych.runs.resuming import check_known, model_config


@dataclass
class RunFiles:
    """The files of one run, to be read. Every error is a ValueError that names the file."""

    path: Path
    """The path of the folder; a string is converted to a Path."""

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

    def _files(self) -> list[Path]:
        return [self.metrics_file, self.checkpoint_file, self.last_file, self.best_file]

    def config(self) -> RunConfig:
        """Return the settings of the run; those of an older version of diptych are translated.

        Raises: ValueError if there are none, or if this version does not know them.
        """
        settings = self.settings()
        try:
            schema.check_types(settings["config"])
            current = upgraded(settings["config"])
            check_known("config", current, RunConfig, "a run")
            config = RunConfig(**current)
            schema.check_types(asdict(config))
            model_config(config)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{schema.describe(self.settings_file, error)}; written by diptych "
                f"{version_of(settings)}, read by {diptych.__version__}"
            ) from None
        try:
            schema.check_digest(settings)
        except ValueError as error:
            raise ValueError(f"{self.settings_file}: {error}") from None
        return config

    def settings(self) -> dict[str, Any]:
        """Return the contents of run.json.

        Raises: ValueError that names the file if it is missing or has not the form of a run.json.
        """
        if not self.settings_file.is_file():
            raise ValueError(
                f"{self.path}: not a run folder ({self.settings_file.name}: no such file)"
            )
        settings = read_json(self.settings_file)
        try:
            schema.check_form(settings)
        except ValueError as error:
            raise ValueError(schema.describe(self.settings_file, error)) from None
        return settings

    def counted(self) -> Extent | None:
        """Return the extent of the metrics at the last checkpoint; None if there is none.

        Raises: ValueError that names the checkpoint if it is damaged.
        """
        if not self.checkpoint_file.exists():
            return None
        required = self.has_digests
        metadata = load_metadata(self.checkpoint_file, digest_required=required)
        return self._extent_in(metadata, required)

    def _extent_in(self, metadata: Mapping[str, Any], required: bool) -> Extent | None:
        """Return the extent in a checkpoint's metadata; an old run has none."""
        if "metrics" not in metadata and not required:
            return None
        return parse_extent(metadata.get("metrics"), self.checkpoint_file)

    def history(self) -> History:
        """Read the metrics for a comparison or an evaluation.

        Raises: ValueError that names the file if lines are damaged, lost or changed.
        """
        self.check_metrics()
        result, validates = history(self.metrics_file), self.config().validates
        if any(bool(line["valid"]) != validates for line in result.epochs):
            takes = "validates each epoch" if validates else "validates no epoch"
            raise ValueError(f"{self.metrics_file}: damaged: valid: its run {takes}")
        return result

    def check_metrics(self) -> None:
        """Raise ValueError if lines of metrics before the last checkpoint are lost or changed."""
        self._check_lines(self.counted())

    def load_checkpoint(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Read the checkpoint, and check the lines of metrics that it counts.

        Raises: ValueError that names the checkpoint or the metrics.
        """
        required = self.has_digests
        arrays, metadata = load_arrays(self.checkpoint_file, digest_required=required)
        self._check_lines(self._extent_in(metadata, required))
        return arrays, metadata

    def _check_lines(self, extent: Extent | None) -> None:
        if extent is not None:
            check_extent(self.metrics_file, extent)

    @property
    def has_digests(self) -> bool:
        """True if the files of the run were written with digests, so that a lost one is noticed."""
        return schema.has_digests(self.settings())

    def check_weights(self, file: Path) -> None:
        """Check that a file of weights is there, and has the digest that its run writes.

        Raises: ValueError that names the file; if it is missing, with what became of the run.
        """
        if not file.exists():
            raise ValueError(f"{file}: no such file: {self._outcome()}")
        if self.has_digests:
            check_has_digest(file)

    def stop_reason(self) -> str | None:
        """Return why the run could not go on, such as a NaN loss; None if it could."""
        lines = read_metrics(self.metrics_file)
        is_stopped = bool(lines) and lines[-1].get("kind") == "stop"
        return str(lines[-1].get("reason")) if is_stopped else None

    def remark(self) -> str | None:
        """Return why the run's weights are not those of a finished training; None if they are.

        A run is also finished when `patience` epochs in a row were no better on validation.
        """
        if (reason := self.stop_reason()) is not None:
            return f"this run stopped: {reason}"
        config, lines = self.config(), self.history().epochs
        losses = [next(iter(line["valid"].values())) for line in lines if line["valid"]]
        waited = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        if config.is_out_of_patience(waited) or len(lines) >= config.epochs:
            return None
        return f"this run is not finished: it has {len(lines)} of {config.epochs} epochs"

    def _outcome(self) -> str:
        """Describe why the run has no weights."""
        if (reason := self.stop_reason()) is not None:
            return f"this run stopped: {reason}"
        lines = read_metrics(self.metrics_file)
        steps = max((line["step"] for line in lines), default=0)
        return f"this run is not finished; its last line of metrics is of step {steps}"
