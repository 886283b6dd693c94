"""The lock of a run folder: one process writes there at a time."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from diptych.files.json_files import read_json
from diptych.files.writing import describe_error

NAME = ".lock"
PATIENCE = 0.2
"""Seconds before a lock counts as held: its file may be just about to be removed."""


@contextlib.contextmanager
def locked(folder: Path, name: str = NAME) -> Iterator[None]:
    """Hold the lock `name` of a folder, which is made if it is missing.

    The system releases the lock when the process ends, however it ends. The file of the lock says
    who holds it, and is removed at the end.
    Raises: ValueError that names the process if another one, or another thread, holds the lock.
    """
    file = folder / name
    lock = FileLock(file, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE, poll_interval=0.02)
        file.write_text(json.dumps(_this_process()))
    except Timeout:
        raise ValueError(f"{folder}: {_holder(file)} writes there; wait until it ends") from None
    except (OSError, NotImplementedError) as error:
        lock.release()
        raise ValueError(f"{folder}: cannot write there ({describe_error(error)})") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        lock.release()


def _this_process() -> dict[str, str | int]:
    since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "host": platform.node(), "since": since}


def _holder(file: Path) -> str:
    """Describe the process that holds a lock; its file may be empty for a moment."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        process = read_json(file)
        return f"process {process['pid']} on {process['host']} (since {process['since']})"
    return "another process"
