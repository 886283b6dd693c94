"""The form of run.json: its version, its fields, and its digest.

The digest covers everything that decides numbers or that a reader relies on. The fields in UNSIGNED
only tell where and by what a run was computed, and may be edited; any other edit by hand needs
`"digest": null` beside it.
"""

from __future__ import annotations

import functools
import json
import reprlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.files import digest
from diptych.runs.config import RunConfig

SCHEMA = 2
"""The form that this version writes. Form 1, which had no number, had no digests."""
LARGEST = 2**63
"""No count is larger."""
UNSIGNED = ("digest", "versions", "machine", "commit")
"""Fields of run.json that its digest leaves out, as it does the device in its settings."""


def signed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of a run.json with their digest."""
    return {**settings, "digest": _digest(settings)}


def has_digests(settings: Mapping[str, Any]) -> bool:
    """True if the files of a run were written with digests, so that a lost one is noticed."""
    return settings.get("schema", 1) >= SCHEMA


def check_form(settings: Any) -> None:
    """Check the number of the form and the types of the fields of a run.json.

    Raises: ValueError for a form that a later version wrote, or for a field of another type.
    """
    if not isinstance(settings, dict):
        raise ValueError(f"got {type(settings).__name__}, takes a JSON object")
    schema = settings.get("schema", 1)
    if type(schema) is not int or schema < 1:
        raise ValueError(f"schema: got {schema!r}, takes 1 or {SCHEMA}")
    if schema > SCHEMA:
        raise ValueError(f"schema: got {schema}, which a later version of diptych wrote")
    forms: dict[str, Any] = {"config": dict, "command": str, "data": str, "ranks": int}
    forms |= {"versions": dict, "machine": str, "resumed": list, "conditions": dict}
    for name, form in forms.items():
        if name in settings and type(settings[name]) is not form:
            raise ValueError(f"{name}: got {reprlib.repr(settings[name])}, takes {form.__name__}")
    if "config" not in settings:
        raise ValueError("it has no config")
    for name, version in settings.get("versions", {}).items():
        if not isinstance(version, str):
            raise ValueError(f"versions: {name}: got {version!r}, takes str")


def check_types(config: Mapping[str, Any]) -> None:
    """Check the type of each setting of a run. Raises: ValueError that names it."""
    hints = _hints()
    for name, value in config.items():
        hint = hints.get(name)
        if hint is not None and not _is_instance(value, hint):
            raise ValueError(
                f"{name}: got {reprlib.repr(value)}, takes {getattr(hint, '__name__', hint)}"
            )


@functools.cache
def _hints() -> dict[str, Any]:
    return typing.get_type_hints(RunConfig)


def check_digest(settings: Mapping[str, Any]) -> None:
    """Check the digest of a run.json, unless its form has none or a hand edit set it to null.

    Raises: ValueError if its contents are not those that were written.
    """
    if not has_digests(settings) or settings.get("digest", "") is None:
        return
    if settings.get("digest") != _digest(settings):
        raise ValueError(
            'damaged, or edited: its digest differs; after an edit by hand set "digest" to null'
        )


def _digest(settings: Mapping[str, Any]) -> str:
    contents = {name: value for name, value in settings.items() if name not in UNSIGNED}
    config = contents.get("config")
    if isinstance(config, dict):
        contents["config"] = {name: v for name, v in config.items() if name != "device"}
    return digest(json.dumps(contents, sort_keys=True).encode())


def _is_instance(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return any(_is_instance(value, part) for part in typing.get_args(hint))
    if hint is float:
        return type(value) in (int, float)
    if hint is int:
        return type(value) is int and abs(value) < LARGEST
    return type(value) is (typing.get_origin(hint) or hint)


def describe(file: Path, error: Exception) -> str:
    """Return the one line for a run.json that cannot be used."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return f"{file}: not the settings of a run ({text})"
