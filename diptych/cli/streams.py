"""Standard output and standard error: any encoding, a full disk, a reader that goes away."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys

PLAIN = {
    "±": "+-",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "·": "*",
    "≤": "<=",
    "≥": ">=",
    "→": "->",
    "←": "<-",
    "✓": "+",
    "✗": "x",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}
"""ASCII for the characters that the commands print besides letters."""
ERRORS = "diptych.plain"


def prepare() -> None:
    """Make both streams writable in any encoding; a closed stream takes everything and drops it."""
    codecs.register_error(ERRORS, _plain)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        with contextlib.suppress(AttributeError, ValueError):  # a stream of another kind
            getattr(sys, name).reconfigure(errors=ERRORS)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Write a character that the encoding lacks in ASCII; a byte of a file's name as \\xNN."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_ascii, text)), error.end


def _ascii(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # os.fsdecode writes an undecodable byte as a surrogate
        return f"\\x{ord(character) - 0xDC00:02x}"
    return PLAIN.get(character, "?")


def output_is_broken() -> bool:
    """True if the reader of standard output has gone; what else is printed is dropped then."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout.fileno())
        return True
    return False


def flush() -> OSError | None:
    """Write what standard output still holds. Returns the error if that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout.fileno())
    except OSError as error:
        drop(sys.stdout.fileno())
        return error
    return None


def drop(number: int) -> None:
    """Let an open file of this number take everything and keep nothing."""
    target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, number)
    os.close(target)
