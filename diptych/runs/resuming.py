"""Settings that a resumed run may change, and those that it takes over from the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from diptych import pairs
from diptych.runs.config import RunConfig
from diptych.runs.data_identity import is_same_source
from model_specs.common.effects import effective

CHANGEABLE = ("device", "checkpoint_every", "log_every", "patience", "pictures")
"""Settings that a resumed run may change, because no training step depends on them."""

RATES = ("lr", "schedule", "constant_epochs", "decay")
"""Settings that decide the learning rate of each epoch."""


def model_config(config: RunConfig) -> Any:
    """Build the model's config. Raises: ValueError for a field that it does not have."""
    kind = pairs.get(config.model).config
    check_known("model_config", config.model_config, kind, config.model)
    return kind(**config.model_config)


def check_known(name: str, values: Mapping[str, Any], kind: Any, owner: str) -> None:
    """Raise ValueError for a key of `values` that is no field of the dataclass `kind`."""
    unknown = sorted(values.keys() - {field.name for field in fields(kind)})
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise ValueError(f"{name}: got the unknown field {names} of {owner}")


def check_resumable(path: Path, before: RunConfig, now: RunConfig, begun: int) -> None:
    """Check that a run with settings `before` can go on with settings `now`.

    `begun` is the number of epochs that have begun. Epochs and learning rates of later epochs may
    change, if the rates of these epochs stay the same. A text may lie at another place, if its
    digests are the same (see RunFolder.begin).
    Raises: ValueError that names every setting that cannot change.
    """
    new, old = (asdict(config) for config in (now, before))
    if now.model == before.model and model_config(now) == model_config(before):
        old["model_config"] = new["model_config"]
    if is_same_source(now.data, before.data):
        old["data"] = new["data"]
    same_rates = all(now.lr_at(epoch) == before.lr_at(epoch) for epoch in range(begun))
    allowed = (*CHANGEABLE, "epochs", *(RATES if same_rates else ()))
    other = [k for k in new if new[k] != old[k] and k not in allowed]
    if other:
        message = "; ".join(f"{k} was {old[k]!r}, now {new[k]!r}" for k in other)
        raise ValueError(f"{path}: cannot resume with other settings: {message}")
    if not same_rates:
        raise ValueError(
            f"epochs: got {now.epochs} for a run of {before.epochs} with schedule "
            f"{now.schedule!r}, whose earlier learning rates would change; takes {before.epochs}"
        )
    if now.epochs < begun:
        raise ValueError(f"epochs: got {now.epochs} for a run in epoch {begun}, takes >= {begun}")


def resumed_options(
    before: RunConfig,
    preset: str | None,
    fields: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Replace each setting that is None, because the user did not give it, by the run's own.

    `fields` are set in the model's config, `options` in the run. With a preset only the changeable
    settings are replaced: the preset decides the others, and must be the one of the run.
    """
    stored = asdict(before)
    names = stored if preset is None else CHANGEABLE
    changes = {k: v for k, v in options.items() if v is not None}
    kept = effective(RunConfig, {k: stored[k] for k in options if k in names}, changes)
    earlier = before.model_config if preset is None else {}
    return effective(pairs.get(before.model).config, earlier, fields), dict(options) | kept
