"""Paths in the options of a command."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer


def without_empty_paths(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command of Typer refuse "" as a path; Path("") would be the current folder."""
    hints = typing.get_type_hints(command, include_extras=True)
    for hint in hints.values():
        kind, *details = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        for detail in details:
            if Path in (kind, *typing.get_args(kind)):
                detail.parser = _path
                if isinstance(detail, typer.models.OptionInfo):
                    detail.metavar = detail.metavar or "PATH"
    command.__annotations__ = hints
    return command


def _path(text: str) -> Any:
    if not str(text):
        raise typer.BadParameter("got '', takes a path")
    return Path(text)
