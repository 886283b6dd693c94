"""Check the values of a comparison's options, and turn them into one form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from diptych.arrays import is_array
from diptych.names import suggestion
from diptych.options.patterns import matches

Parsed = TypeVar("Parsed")


def as_mapping(option: str, value: Any, takes: str) -> dict[str, Any]:
    """A dict with names as keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{option}: got {value!r}, takes a mapping from {takes}")
    return dict(value)


def parsed(option: str, key: str, value: Any, parse: Callable[[str], Parsed]) -> Parsed:
    """`parse(value)`, whose errors name the option and the key."""
    if not isinstance(value, str):
        raise ValueError(f"{option}: {key!r} -> got {value!r}, takes text")
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{option}: {key!r} -> {error}") from None


def as_patterns(option: str, value: Any, more: str = "") -> tuple[str, ...]:
    """A tuple of patterns; one pattern may stand for itself."""
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, Sequence | set | frozenset) or not all(
        isinstance(item, str) and item for item in items
    ):
        raise ValueError(f"{option}: got {value!r}, takes {more}a list of patterns of names")
    return tuple(items)


def as_bound(value: Any) -> float | dict[str, float] | None:
    """One bound for all rows, or bounds by pattern."""
    if value is None:
        return None
    table = as_mapping("bound", value, "patterns") if isinstance(value, Mapping) else {"": value}
    for number in table.values():
        real = isinstance(number, Real) and not isinstance(number, bool | np.bool_)
        if not real or not math.isfinite(number) or number <= 0:
            raise ValueError(
                f"bound: got {value!r}, takes a finite number above 0, or a mapping from patterns "
                "of names to such numbers"
            )
    numbers = {pattern: float(number) for pattern, number in table.items()}
    return numbers if isinstance(value, Mapping) else numbers[""]


def check_matched(option: str, patterns: Iterable[str], names: Iterable[str]) -> None:
    """Raises: ValueError for a pattern that matches no name, with the most similar names."""
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            hint = suggestion(pattern, filter(None, names), 3)
            raise ValueError(f"{option}: got {pattern!r}, which matches no name{hint}")


def jsonable(value: Any) -> Any:
    """The value with tuples as lists, and arrays and other objects as text."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if is_array(value) and value.shape:
        return f"array of shape {tuple(value.shape)}"
    return value if isinstance(value, bool | int | float | str | None) else str(value)
