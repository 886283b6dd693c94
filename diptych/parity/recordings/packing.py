"""Store nested values, such as a batch or a NamedTuple of noise, as JSON and named arrays.

No pickle: reading a file runs no code. A NamedTuple or a dataclass is read back as its own class if
the program has imported that class, and else as a NamedTuple with the same fields.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import namedtuple
from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.arrays import is_array, to_numpy
from diptych.files import digest

_SEQUENCES: Mapping[str, Any] = {"tuple": tuple, "list": list, "set": set, "frozenset": frozenset}


@dataclasses.dataclass(frozen=True)
class Unsaved:
    """Stands for an argument that a file cannot hold, for example a function."""

    description: str


class Writer:
    """Collects the arrays of a file under readable keys."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.copies: dict[str, str] = {}
        """Key of an array that is stored under another key as well -> that other key"""
        self._keys: dict[str, str] = {}

    def add(self, key: str, array: Any, *, shared: bool = False) -> None:
        """Store an array; with `shared`, only if no equal array is stored yet."""
        array = to_numpy(array)
        name = digest(f"{array.dtype}{array.shape}".encode(), array.tobytes())
        if shared and name in self._keys:
            self.copies[key] = self._keys[name]
            return
        self._keys.setdefault(name, key)
        self.arrays[key] = array

    def pack(self, key: str, value: Any, *, strict: bool = True) -> Any:
        """Return `value` as JSON; its arrays are stored under `key`, key.field or key[i].

        Anything that a file cannot hold is an error if `strict`, and else becomes `Unsaved`.
        Raises: ValueError that names the key and the type.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if is_array(value):
            self.add(key, value, shared=not strict)
            return {"array": key}
        fields = _fields(value)
        if fields is not None:
            packed = {n: self.pack(f"{key}.{n}", v, strict=strict) for n, v in fields.items()}
            return {"class": f"{type(value).__module__}:{type(value).__qualname__}", "of": packed}
        if isinstance(value, Mapping) and all(isinstance(name, str | int) for name in value):
            items = [[n, self.pack(f"{key}.{n}", v, strict=strict)] for n, v in value.items()]
            return {"dict": items}
        for name, kind in _SEQUENCES.items():
            if isinstance(value, kind):
                items = sorted(value, key=repr) if "set" in name else value
                packed_items = enumerate(items)
                return {name: [self.pack(f"{key}[{i}]", v, strict=strict) for i, v in packed_items]}
        if not strict:
            return {"unsaved": type(value).__qualname__}
        raise ValueError(
            f"{key}: got a {type(value).__qualname__}, takes arrays, numbers, text, None, and "
            "tuples, lists, dicts or dataclasses of them"
        )


class Reader:
    """Gives the arrays of a file by key, and keeps account of those that are missing."""

    def __init__(self, arrays: Mapping[str, np.ndarray], copies: Mapping[str, str]) -> None:
        self.arrays, self.copies = arrays, copies
        self.missing: list[str] = []
        self.unread = dict.fromkeys(arrays)

    def get(self, key: str) -> np.ndarray:
        """The array of a key; if the file lacks it, an empty one, and the key is noted."""
        stored = self.copies.get(key, key)
        self.unread.pop(stored, None)
        if stored not in self.arrays:
            self.missing.append(stored)
            return np.zeros(0)
        return self.arrays[stored].copy()

    def unpack(self, packed: Any) -> Any:
        """Return the value that `Writer.pack` described."""
        if not isinstance(packed, dict):
            return packed
        if not packed:
            raise ValueError("a packed value has no kind")
        kind = next(iter(packed))
        content = packed[kind]
        if kind == "array":
            return self.get(content)
        if kind == "dict":
            return {name: self.unpack(item) for name, item in content}
        if kind == "class":
            return _build(content, {n: self.unpack(item) for n, item in packed["of"].items()})
        if kind == "unsaved":
            return Unsaved(content)
        return _SEQUENCES[kind](self.unpack(item) for item in content)


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a NamedTuple or a dataclass by name, or None for any other value."""
    names = getattr(type(value), "_fields", None)
    if isinstance(value, tuple) and names is not None:
        return dict(zip(names, value, strict=True))
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    return None


def _build(name: str, fields: dict[str, Any]) -> Any:
    """An instance of a class that is imported already, or of a NamedTuple with these fields."""
    module, _, path = name.partition(":")
    cls: Any = sys.modules.get(module)
    for part in path.split("."):
        cls = getattr(cls, part, None)
    if isinstance(cls, type) and _init_fields(cls) == list(fields):
        return cls(**fields)
    return namedtuple(path.rpartition(".")[2], fields)(**fields)


def _init_fields(cls: type) -> list[str] | None:
    if issubclass(cls, tuple):
        return list(getattr(cls, "_fields", ()))
    if dataclasses.is_dataclass(cls):
        return [f.name for f in dataclasses.fields(cls) if f.init]
    return None
