"""Parts of the study that worker processes run at the same time, and print in order."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from diptych import display
from diptych.workers import run_jobs


@dataclass(frozen=True)
class Part:
    """A part of the study that does not depend on another part."""

    heading: str
    """the heading under which it is printed"""
    name: str
    function: Callable[..., Any]
    """a function (*arguments, console) -> its result, which can be sent to another process"""
    arguments: tuple[Any, ...]
    is_first: bool = False
    """True for a long part that starts before all others, though it is shown in its turn"""


@dataclass(frozen=True)
class _Job:
    part: Part
    width: int
    color_system: Any


def run_parts(parts: Sequence[Part], workers: int, console: Console) -> Iterator[tuple[Part, Any]]:
    """Yield each part with its result, in order; print its heading and output just before.

    With more than one worker the parts run in as many processes of one thread each, so that a part
    may wait for an earlier one to be printed.
    """
    jobs = [_Job(part, console.width, console.color_system) for part in parts]
    queue = sorted(jobs, key=lambda job: not job.part.is_first)
    finished: dict[int, tuple[Any, str]] = {}
    position, heading = 0, ""
    with console.status(_progress(0, parts[0], len(parts))) as status:
        for job, outcome in run_jobs(_run, queue, workers):
            finished[jobs.index(job)] = outcome
            while position in finished:
                part, (result, text) = parts[position], finished.pop(position)
                if part.heading != heading:
                    heading = part.heading
                    console.rule(heading)
                console.print(Text.from_ansi(text), soft_wrap=True)
                yield part, result
                position += 1
            done = position + len(finished)
            status.update(_progress(done, parts[min(position, len(parts) - 1)], len(parts)))


def _progress(done: int, part: Part, total: int) -> Text:
    return Text(f"{done} of {total} parts finished; next to be shown: {part.name}")


def _run(job: _Job) -> tuple[Any, str]:
    """Run a part; return its result and everything that it printed."""
    torch.set_flush_denormal(True)  # a setting of each process; see terminal.flushed_denormals
    text = io.StringIO()
    console = display.Console(file=text, width=job.width, color_system=job.color_system)
    result = job.part.function(*job.part.arguments, console)
    return result, text.getvalue()
