"""Ctrl-C ends a command with one line, also while Python imports a module."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # typing's, see diptych/__init__.py
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

STATUS = 130
"""Exit status of an interrupted command, as of any program that SIGINT ends."""
_IMPORTING = "<frozen importlib._bootstrap>"


class QuietInterrupts:
    """Context in which Ctrl-C raises KeyboardInterrupt, but ends the process during an import.

    An import that is interrupted by an exception can print a traceback of its own or leave half a
    package behind, and nothing needs to be saved then. If `whole_process`, nothing follows the
    context but the end of Python, in which another Ctrl-C is quiet, too.
    """

    def __init__(self, *, whole_process: bool) -> None:
        self.whole_process = whole_process
        self.before: Any = None

    def __enter__(self) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a job in the background
            return
        try:
            self.before = signal.signal(signal.SIGINT, _interrupt)
        except ValueError:  # only the main thread of a process may do this
            return
        self.hook = sys.unraisablehook
        sys.unraisablehook = lambda event: _end_or_report(event, self.hook)

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            sys.unraisablehook = self.hook
            signal.signal(signal.SIGINT, signal.SIG_DFL if self.whole_process else self.before)


def _interrupt(_: int, frame: FrameType | None) -> NoReturn:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            _end()
        frame = frame.f_back
    raise KeyboardInterrupt


def _end_or_report(event: Any, hook: Any) -> None:
    """Python drops an exception in a callback, such as a __del__; Ctrl-C must not be lost."""
    if issubclass(event.exc_type, KeyboardInterrupt):
        _end()
    hook(event)


def _end() -> NoReturn:
    tell()
    os._exit(STATUS)


def tell() -> None:
    """Write the line of an interrupted command."""
    try:  # noqa: SIM105  (contextlib takes longer to import than all this)
        os.write(2, b"error: interrupted\n")
    except OSError:  # standard error is closed
        pass
