"""The parts of an operation that take most of its time, by a profiler.

torch.profiler times each torch operation on CPU and CUDA. cProfile times each Python function of
NumPy's panel; ufuncs and operators such as @ are no functions to it, so their time is that of the
function that calls them. Both slow the operation down, small calls most of all: `overhead` is the
factor, and shares of a call that takes microseconds are to be read with it.
"""

from __future__ import annotations

import cProfile
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from diptych.bench import clock
from model_specs.common.fields import check_choice

BACKENDS = ("numpy", "torch")
CALLS, LEAST_CALLS, SECONDS = 7, 2, 1.0
"""Calls that are profiled: as many as fit into SECONDS, within both bounds."""
REST = "Python, and torch's dispatch between operations"
WORDS = {
    "aten::mm": "matrix product",
    "aten::addmm": "matrix product and bias",
    "aten::bmm": "batched matrix product",
    "aten::mkldnn_convolution": "convolution",
    "aten::_slow_conv2d_forward": "convolution",
    "aten::_slow_conv2d_backward": "gradients of a convolution",
    "aten::slow_conv_transpose2d": "transposed convolution",
    "aten::convolution_backward": "gradients of a convolution",
    "aten::native_batch_norm": "batch norm",
    "aten::native_batch_norm_backward": "gradients of batch norm",
    "aten::mkldnn_rnn_layer": "LSTM layer",
    "aten::mkldnn_rnn_layer_backward": "gradients of an LSTM layer",
}
"""The most expensive operations of torch in words."""
ROOT = Path(__file__).parents[2]


class Row(NamedTuple):
    """A function or an operation, and its share of the time of the whole."""

    name: str
    share: float


@dataclass(frozen=True)
class Profile:
    """The rows that take most of the time, largest first."""

    rows: Sequence[Row]
    seconds: float
    """Median seconds of a call without the profiler."""
    overhead: float
    """Factor by which the profiler slows a call down."""


def top(run: Callable[[], Any], backend: str, count: int = 5) -> list[Row]:
    """The `count` parts of `run()` with the largest self time: that of their callees is theirs."""
    return list(profile(run, backend, count).rows)


def profile(run: Callable[[], Any], backend: str, count: int = 5) -> Profile:
    """`top`, with the time of a call and the profiler's overhead.

    Raises: ValueError for another backend than "numpy" and "torch".
    """
    check_choice("backend", backend, BACKENDS)
    run()
    calls = max(LEAST_CALLS, min(CALLS, round(SECONDS / clock.seconds(run))))
    seconds = statistics.median(clock.seconds(run) for _ in range(calls))
    rows, profiled = {"numpy": _python_rows, "torch": _torch_rows}[backend](run, calls)
    ordered = sorted(rows, key=lambda row: -row.share)[:count]
    return Profile(ordered, seconds, profiled / seconds)


def _python_rows(run: Callable[[], Any], calls: int) -> tuple[list[Row], float]:
    """Shares by function, and seconds of a call under cProfile."""
    profiler = cProfile.Profile()

    def profiled() -> None:
        profiler.enable()
        run()
        profiler.disable()

    seconds = statistics.median(clock.seconds(profiled) for _ in range(calls))
    entries: Any = profiler.getstats()
    return _shares((_python_name(entry.code), entry.inlinetime) for entry in entries), seconds


def _python_name(code: CodeType | str) -> str:
    """A function with its file and line; a builtin, such as <method 'sum' ...>, by its own name."""
    if isinstance(code, str):
        return code.strip("<>").removeprefix("built-in method ")
    path = Path(code.co_filename)
    parts = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(*path.parts[-2:])
    name = code.co_qualname.replace(".<locals>", "")
    return f"{name} ({parts}:{code.co_firstlineno})"


def _torch_rows(run: Callable[[], Any], calls: int) -> tuple[list[Row], float]:
    """Shares by operation, and seconds of a call under torch.profiler.

    With CUDA the time is that of the kernels on the device, else that of operations on the CPU. The
    rest of the call, outside of all operations, is a row of its own.
    """
    on_device = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    with torch.profiler.profile(activities=activities):
        run()  # the profiler's own start takes time
    with torch.profiler.profile(activities=activities) as profiler:
        times = [clock.seconds(run) for _ in range(calls)]
    seconds = statistics.median(times)
    events: Any = profiler.key_averages()
    kernels = [event for event in events if event.device_type != DeviceType.CPU]
    if kernels:
        return _shares((event.key, event.self_device_time_total) for event in kernels), seconds
    operations = [(_torch_name(event.key), 1e-6 * event.self_cpu_time_total) for event in events]
    rest = max(sum(times) - sum(spent for _, spent in operations), 0.0)
    return _shares([*operations, (REST, rest)]), seconds


def _torch_name(key: str) -> str:
    """The name of an operation, in words where we have them. Marks around others, such as
    "Optimizer.step#Adam.step", have no work of their own but Python's."""
    if not key.startswith("aten::"):
        return REST
    return f"{WORDS[key]} ({key})" if key in WORDS else key


def _shares(times: Iterable[tuple[str, float]]) -> list[Row]:
    """Times as shares of their sum; times of one name are added."""
    totals: dict[str, float] = {}
    for name, value in times:
        totals[name] = totals.get(name, 0.0) + value
    whole = sum(totals.values()) or 1.0
    return [Row(name, value / whole) for name, value in totals.items()]
