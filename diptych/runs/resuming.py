"""Settings that a resumed run may change, and those that it takes over from the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diptych import pairs
from diptych.runs.config import FIXED_SCHEDULES, RunConfig

CHANGEABLE = ("device", "checkpoint_every", "log_every", "patience", "pictures")
"""Settings that decide where and how often, and no step that a run has already taken."""


def model_config(config: RunConfig) -> Any:
    """Build the model's config. Raises: TypeError for a field that it does not have."""
    return pairs.get(config.model).config(**config.model_config)


def check_resumable(path: Path, before: RunConfig, now: RunConfig) -> None:
    """Check that a run with settings `before` can go on with settings `now`.

    Epochs may become more where the learning rates of the epochs before stay the same.
    Raises: ValueError that names every setting that cannot change.
    """
    ours, theirs = (asdict(config) for config in (now, before))
    if now.model == before.model and model_config(now) == model_config(before):
        theirs["model_config"] = ours["model_config"]
    other = [k for k in ours if ours[k] != theirs[k] and k not in (*CHANGEABLE, "epochs")]
    if other:
        message = "; ".join(f"{k} was {theirs[k]!r}, now {ours[k]!r}" for k in other)
        raise ValueError(f"{path}: cannot resume with other settings: {message}")
    if now.epochs < before.epochs:
        raise ValueError(
            f"epochs: got {now.epochs} for a run of {before.epochs}, takes {before.epochs} or more"
        )
    if now.epochs > before.epochs and now.schedule not in FIXED_SCHEDULES:
        raise ValueError(
            f"epochs: got {now.epochs} for a run of {before.epochs} with schedule "
            f"{now.schedule!r}, whose earlier learning rates would change; takes {before.epochs}"
        )


def resumed_options(
    before: RunConfig,
    preset: str | None,
    fields: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fill in the settings that the user of `--resume` does not give (None) with the run's own.

    `fields` are those of the model's config, `options` those of the run. With a preset only the
    changeable settings are filled in: it decides the others, and has to be that of the run.
    """
    stored = asdict(before)
    names = stored if preset is None else CHANGEABLE
    filled = {k: stored[k] if v is None and k in names else v for k, v in options.items()}
    return (before.model_config if preset is None else {}) | dict(fields), filled
