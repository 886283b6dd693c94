"""JSON files, and JSON text from outside."""

from __future__ import annotations

import json
import os
from typing import Any

from diptych.files.writing import read_bytes, write_atomically


def write_json(path: str | os.PathLike[str], value: Any, *, allow_nan: bool = True) -> None:
    """Write a value as indented JSON, atomically.

    Raises: ValueError for NaN and inf unless `allow_nan`.
    """
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=allow_nan) + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file. Raises: ValueError that names the file and the fault."""
    return parse_json(read_bytes(path), f"{path}:")


def parse_json(text: str | bytes, source: str) -> Any:
    """Parse JSON text. Raises: ValueError that begins with `source`, whatever the text is."""
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError(f"{source} not JSON (it is nested too deeply)") from None
    except UnicodeDecodeError as error:
        fault = f"byte {error.object[error.start]:#04x} at offset {error.start}"
        raise ValueError(f"{source} not JSON (it is not UTF-8 text: {fault})") from None
    except ValueError as error:  # also an integer of too many digits
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "a number is too long"
        raise ValueError(f"{source} not JSON ({reason})") from None
