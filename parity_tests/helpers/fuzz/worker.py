"""Read changed inputs in a process of its own, which a reader may crash.

    python -m helpers.fuzz.worker FOLDER [READER START STOP] ...

Each input is made from the reader's name and its number alone. One JSON line is printed for an
input whose outcome is neither "accepted" nor "refused", and one with the counts for each reader.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from . import data_readers, run_readers

READERS = data_readers.MAKERS | run_readers.MAKERS
PRESENT = ".present"
"""The file that names the reader and the number of the present input."""
SECONDS = 20
"""An input that takes longer counts as a hang: the process is ended by SIGALRM."""
MEMORY = 1 << 29
"""Bytes that a reader may allocate beyond the memory of the process that starts to read."""


def outcome(reader: Any) -> tuple[str, str]:
    """Read the present input; return the kind of outcome, and the message of an error."""
    try:
        reader.read()
    except ValueError as error:
        message = str(error)
        if "\n" in message or not any(name in message for name in reader.names):
            return "nameless message", message
        return "refused", message
    except BaseException as error:  # every other exception is a finding
        return f"undocumented {type(error).__name__}", str(error)
    return "accepted", ""


def work(name: str, folder: Path, start: int, stop: int) -> None:
    """Read the inputs `start` to `stop`; the file PRESENT always names the present one."""
    (folder / name).mkdir()
    os.chdir(folder / name)
    reader = READERS[name](folder / name)
    present, counts, slowest = folder / PRESENT, Counter[str](), 0.0
    used = _largest_memory()
    for index in range(start, stop):
        present.write_text(f"{name} {index}")
        reader.change(Random(f"{name} {index}"))
        signal.alarm(SECONDS)
        begin = time.monotonic()
        kind, message = outcome(reader)
        slowest = max(slowest, time.monotonic() - begin)
        signal.alarm(0)
        counts[kind] += 1
        if kind not in ("accepted", "refused"):
            _say({"reader": name, "index": index, "kind": kind, "message": message[:300]})
    growth = _largest_memory() - used
    _say({"reader": name, "counts": counts, "slowest_s": slowest, "memory_growth": growth})


def _largest_memory() -> int:
    """The largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _limit_memory(extra: int) -> None:
    """Let this process allocate `extra` bytes more; beyond that a reader gets a MemoryError."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + extra, size + extra))


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _limit_memory(MEMORY)
    for name, first, end in zip(sys.argv[2::3], sys.argv[3::3], sys.argv[4::3], strict=True):
        work(name, Path(sys.argv[1]), int(first), int(end))
