"""Settings that an older version of diptych wrote, translated to the names of this one.

Up to 0.1.0, run.json held no version, and some settings had other names. Names of weights have
not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diptych import pairs
from diptych.runs.config import RunConfig
from model_specs.common.effects import effective

UNVERSIONED = "0.1.0 or earlier"

SETTINGS = {"hold_epochs": "constant_epochs"}
"""The new name of each renamed setting of a run."""
SCHEDULES = {"hold": "constant-then-decay"}
"""The new name of each renamed schedule."""
FIELDS = {"vlae": {"handed_over": "context_maps"}}
"""The new name of each renamed field of a config, by model."""
DROPPED = {"rnn": ("kernel",), "lstm": ("kernel",)}
"""Former fields of a config, by model, that changed results by rounding only."""
ADDED = {"conv_vae": {"height": None, "width": None}}
"""Fields that older configs lack, by model, with the value under which a run goes on as before."""
POSITION = {"seen": "examples", "count": "units"}
"""The new name of each renamed entry of a checkpoint's position."""


def version_of(settings: Mapping[str, Any]) -> str:
    """Return the version of diptych that wrote a run.json."""
    return settings.get("versions", {}).get("diptych", UNVERSIONED)


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the "config" of a run.json to the names of this version."""
    result = _renamed(config, SETTINGS)
    if "schedule" in result:
        result["schedule"] = SCHEDULES.get(result["schedule"], result["schedule"])
    model = result.get("model", "")
    fields = _renamed(result.get("model_config", {}), FIELDS.get(model, {}))
    dropped = DROPPED.get(model, ())
    kept = {k: v for k, v in fields.items() if k not in dropped}
    result["model_config"] = ADDED.get(model, {}) | kept
    return _effective(result)


def _effective(config: dict[str, Any]) -> dict[str, Any]:
    """Replace settings without effect, which older versions accepted, by their defaults."""
    if (pair := pairs.PAIRS.get(config.get("model", ""))) is not None:
        fields = config["model_config"]
        kept = effective(pair.config, fields)
        config["model_config"] = {k: kept.get(k, getattr(pair.config, k, None)) for k in fields}
    return effective(RunConfig, config)


def upgraded_position(position: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the position of a checkpoint to the names of this version."""
    return _renamed(position, POSITION)


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}
