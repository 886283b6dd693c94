"""The one line that a user reads when a command fails."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from rich.text import Text

from diptych.cli import terminal
from diptych.ending import end_at_once

ALIASES: Mapping[str, Mapping[str, str]] = {
    "train": {"name": "data", "root": "data_root", "config field": "set_", "count": "batch_size"},
    "evaluate": {"root": "data_root", "count": "examples"},
    "sample": {"root": "data_root", "tokens": "prompt"},
    "lab": {"name": "data", "root": "data_root"},
}
"""For each command: the option that sets an argument of the library with another name."""

_MEMORY = re.compile(
    "can't allocate memory|cannot allocate memory|out of memory|unable to allocate|bad_alloc|"
    "storage size calculation overflowed|array is too big|maximum allowed dimension exceeded",
    re.IGNORECASE,
)
_BYTES = re.compile(r"(?:allocate|Tried to allocate) ([\d.]+ *[KMGTPE]?i?B|\d+ bytes)[^.]*")


class BadInputError(ValueError):
    """An error in what a command was given, for commands whose exit status 1 means something else.

    The exit status is 2.
    """


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Turn the errors inside the block into BadInputError."""
    try:
        yield
    except Exception as error:
        raise BadInputError(describe(error)) from error


def fail(message: str, status: int) -> NoReturn:
    """Print one line and end the process; a rank other than 0 adds its number.

    One of several ranks ends without shutting Python down; see diptych.ending.end_at_once.
    """
    rank = os.environ.get("RANK") or "0"
    message = message if rank == "0" else f"rank {rank}: {message}"
    line = Text.assemble(("error:", "bold red"), " ", one_line(message))
    terminal.errors.print(line, highlight=False)
    if os.environ.get("WORLD_SIZE", "") not in ("", "1"):
        end_at_once(status)
    sys.exit(status)


def one_line(message: str) -> str:
    """The message without line breaks and control characters; blanks within a line stay."""
    line = re.sub(r"\s*[\n\r\v\f\x85\u2028\u2029]\s*", " ", message.strip())
    return "".join(
        c
        if c.isprintable() or c in " \t\xa0" or "\udc80" <= c <= "\udcff"
        else c.encode("unicode_escape").decode()
        for c in line
    )


def describe(error: Exception) -> str:
    """The message of an error: a file that the system refused, memory, wrong input or a bug."""
    text = str(error)
    if isinstance(error, MemoryError) or _MEMORY.search(text):
        size = _BYTES.search(text)
        return "not enough memory" + (f" ({size.group()})" if size else "")
    if isinstance(error, OSError) and error.strerror:
        names = [
            os.fsdecode(n) for n in (error.filename2, error.filename) if isinstance(n, str | bytes)
        ]
        return f"{names[0]}: {error.strerror}" if names else error.strerror
    is_input = isinstance(error, ValueError | OSError | RuntimeError)
    if is_input and not isinstance(error, RecursionError | NotImplementedError) and text:
        return text
    return f"{type(error).__name__}: {text or 'no message'}: a bug: rerun with --debug"


def name_options(message: str, command: Any, arguments: Sequence[str]) -> str:
    """Replace an argument of the library in an error message by the option that the user typed.

    "epochs: got 0" becomes "--epochs: got 0", and a field of the model's config becomes
    "--set hidden_dim: got ..." if the user set it. Other names stay unchanged.
    """
    head, colon, tail = message.partition(": ")
    if not colon or not re.fullmatch(r"\w+( \w+)?(, \w+)*", head):
        return message
    called = next((a for a in arguments if a in command.commands), None)
    if called is None:
        return message
    options = {p.name: p.opts[0] for p in command.commands[called].params if "--" in p.opts[0]}
    aliases = ALIASES.get(called, {})
    values = [a.removeprefix("--set=") for a in arguments]
    fields = {value.partition("=")[0] for value in values if "=" in value}

    def typed(name: str) -> str:
        if name in fields:
            return f"--set {name}"
        return options.get(aliases.get(name, name), name)

    return f"{', '.join(map(typed, head.split(', ')))}: {tail}"
