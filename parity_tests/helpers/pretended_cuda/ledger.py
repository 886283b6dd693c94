"""A ledger of the events of a device, counted by the line of the project that caused them.

Kinds of events:

    synchronisation   the host waits for the device: it reads a value, or calls synchronize()
    download          a copy from the device that the host does not wait for
    blocking upload   a copy to the device from pageable memory, for which the host waits as well
    upload            a copy to the device that the host does not wait for
    error             an operation that CUDA refuses
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

PACKAGE = str(Path(__file__).parent)
ROOT = Path(__file__).parents[3]
LIBRARIES = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")})
KINDS = ("synchronisation", "download", "blocking upload", "upload", "error")


class Event(NamedTuple):
    """An operation and the line that called it."""

    kind: str
    operation: str
    place: str
    """The innermost line outside torch and the standard library, as "torch_impl/rnn.py:74"."""
    line: str
    """The source of this line."""
    caller: str
    """The next line outwards that is in another function."""


class Ledger:
    """The events since the last `clear`."""

    def __init__(self) -> None:
        self.counts: Counter[Event] = Counter()

    def clear(self) -> None:
        self.counts.clear()

    def record(self, kind: str, operation: str) -> Event:
        """Count one event of the calling line."""
        frames = _project_frames(sys._getframe(1))
        place, line = _describe(frames[0]) if frames else ("?", "")
        caller = _describe(frames[1])[0] if len(frames) > 1 else ""
        event = Event(kind, operation, place, line, caller)
        self.counts[event] += 1
        return event

    def total(self, kind: str) -> int:
        """The number of events of a kind."""
        return sum(count for event, count in self.counts.items() if event.kind == kind)

    def as_json(self) -> dict[str, Any]:
        """Return the totals by kind, and each line with its count, the most frequent first."""
        lines = [event._asdict() | {"count": n} for event, n in self.counts.most_common()]
        return {"totals": {kind: self.total(kind) for kind in KINDS}, "lines": lines}


LEDGER = Ledger()
"""The ledger of the pretended device."""


def _project_frames(frame: FrameType | None) -> list[FrameType]:
    """The two innermost frames outside torch, Python's library and this package."""
    frames: list[FrameType] = []
    while frame is not None and len(frames) < 2:
        if _is_project(frame.f_code.co_filename):
            frames.append(frame)
        frame = frame.f_back
    return frames


def _is_project(filename: str) -> bool:
    return not filename.startswith((PACKAGE, "<", *LIBRARIES))


def _describe(frame: FrameType) -> tuple[str, str]:
    path = Path(frame.f_code.co_filename)
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    line = linecache.getline(str(path), frame.f_lineno).strip()
    return f"{name.as_posix()}:{frame.f_lineno}", line
