"""The clock of all benchmarks: seconds of a call, and the peak memory of host and device.

A call on a GPU returns before its kernels have run, so whoever is timed calls `wait` at its end.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

CALLS = 25
"""Calls in a turn, at most."""
TURN = 0.1
"""Seconds that a turn should take, at most; a longer call makes a turn alone."""
REST = 0.04
"""Seconds of silence before a turn, in which the idle threads of the previous backend stop to
spin."""
SETTLE = 0.03
"""Seconds of calls at the start of a turn that are not counted: they fill the caches and wake the
backend's own threads."""

_waits: contextvars.ContextVar[bool] = contextvars.ContextVar("waits", default=True)


def wait(device: torch.device) -> None:
    """Wait until a GPU has run all that was queued; return at once for the CPU."""
    if device.type == "cuda" and _waits.get():
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """Context in which `wait` returns at once: a CUDA graph cannot capture a synchronisation."""
    token = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(token)


def seconds(run: Callable[[], Any]) -> float:
    """The wall-clock time of one call, in seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def turn(run: Callable[[], Any]) -> tuple[float, int]:
    """The median seconds of the calls of one turn, and how many were counted.

    After REST seconds, calls of SETTLE seconds in all, at least one, are not counted. Then follow
    at most CALLS calls within TURN seconds, at least one.
    """
    time.sleep(REST)
    first = seconds(run)
    spent = first
    while spent < SETTLE:
        spent += seconds(run)
    calls = max(1, min(CALLS, round(TURN / max(first, 1e-9))))
    return statistics.median(seconds(run) for _ in range(calls)), calls


def peak_resident() -> int | None:
    """The largest resident set of this process so far, in bytes; None where it is not known."""
    try:
        import resource  # noqa: PLC0415  # Windows has none
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def peak_of_device(device: str) -> int | None:
    """The most bytes that tensors on a GPU took since the last reset; None for the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else None


def reset_peak_of_device(device: str) -> None:
    """Start the count of `peak_of_device` again."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
