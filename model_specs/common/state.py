"""Check of the entries of a state_dict against the entries that a model has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]


def check_state(expected: Shapes, shapes: Shapes, name: str = "state_dict") -> None:
    """Raise one ValueError that lists every missing, unexpected and misshapen entry of `shapes`."""
    problems = [f"missing {entry}" for entry in expected if entry not in shapes]
    problems += [f"unexpected {entry}" for entry in shapes if entry not in expected]
    problems += [
        f"{entry} has shape {shapes[entry]}, takes {shape}"
        for entry, shape in expected.items()
        if entry in shapes and shapes[entry] != shape
    ]
    if problems:
        raise ValueError(f"{name}: " + "; ".join(problems))


def shapes_of(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every array of a state_dict of either panel, as `check_state` takes them."""
    return {name: tuple(array.shape) for name, array in state.items()}
