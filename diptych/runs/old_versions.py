"""Settings that an older version of diptych wrote, translated to the names of this one.

Up to 0.1.0, run.json held no version, and some settings had other names. Names of weights have
not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNVERSIONED = "0.1.0 or earlier"

SETTINGS = {"hold_epochs": "constant_epochs"}
"""settings of a run: old name -> new name"""
SCHEDULES = {"hold": "constant-then-decay"}
FIELDS = {"vlae": {"handed_over": "context_maps"}}
"""fields of a model's config, by model: old name -> new name"""
DROPPED = {"rnn": ("kernel",), "lstm": ("kernel",)}
"""fields of a model's config that decided how it was computed, and no number beyond rounding"""
POSITION = {"seen": "examples", "count": "units"}
"""entries of a checkpoint's position"""


def version_of(settings: Mapping[str, Any]) -> str:
    """The version of diptych that wrote a run.json."""
    return settings.get("versions", {}).get("diptych", UNVERSIONED)


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The "config" of a run.json under the names of this version; current names stay."""
    result = _renamed(config, SETTINGS)
    if "schedule" in result:
        result["schedule"] = SCHEDULES.get(result["schedule"], result["schedule"])
    model = result.get("model", "")
    fields = _renamed(result.get("model_config", {}), FIELDS.get(model, {}))
    dropped = DROPPED.get(model, ())
    result["model_config"] = {k: v for k, v in fields.items() if k not in dropped}
    return result


def upgraded_position(position: Mapping[str, Any]) -> dict[str, Any]:
    """The position of a checkpoint under the names of this version."""
    return _renamed(position, POSITION)


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}
