"""When a state_dict fits a model: the same names and shapes, whatever the arrays are."""

from __future__ import annotations

from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]


def check_state(own: Shapes, given: Shapes, what: str = "state_dict") -> None:
    """Raise one ValueError that lists every missing, unexpected and misshapen entry."""
    problems = [f"missing {name}" for name in own if name not in given]
    problems += [f"unexpected {name}" for name in given if name not in own]
    problems += [
        f"{name} has shape {given[name]}, takes {shape}"
        for name, shape in own.items()
        if name in given and given[name] != shape
    ]
    if problems:
        raise ValueError(f"{what}: " + "; ".join(problems))
