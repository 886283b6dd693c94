"""Check of the entries of a state_dict against the entries that a model has."""

from __future__ import annotations

from collections.abc import Mapping

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
