"""Patterns of names, as in the shell: "*", "?" and "[a-z]"."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


def matches(pattern: str, name: str) -> bool:
    """True if the pattern is the name itself, or matches it with the case of its letters.

    A number in brackets is an index, not a set of digits: "output[1]" is the second output.

    >>> matches("h.[0-3].*", "h.2.ln"), matches("h*[1]", "h.forward[1]"), matches("h*", "H.ln")
    (True, True, False)
    """
    literal_indices = re.sub(r"\[(\d+)\]", r"[[]\1]", pattern)
    return pattern == name or fnmatch.fnmatchcase(name, literal_indices)


def any_matches(patterns: Iterable[str], name: str) -> bool:
    """True if one of the patterns matches the name."""
    return any(matches(pattern, name) for pattern in patterns)


def lookup(table: Mapping[str, Value], name: str) -> Value | None:
    """The value of the name itself, else of the first pattern that matches it, else None."""
    if name in table:
        return table[name]
    return next((value for pattern, value in table.items() if matches(pattern, name)), None)
