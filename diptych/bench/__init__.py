"""How fast each panel is: workloads, timed in turn so that a machine's moods strike all alike."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from diptych import pairs
from diptych.bench import autoregressive, convolutional, recurrent, whole
from diptych.bench.workload import Workload
from diptych.display import Table
from diptych.runs import results
from diptych.runs.environment import command_line

__all__ = ["Workload", "bench", "interleaved", "peak_mib", "workload", "works"]

BLOCK = 5
TURN = 0.1  # seconds
KINDS: dict[str, Any] = {
    "rnn": recurrent,
    "lstm": recurrent,
    "conv_vae": convolutional,
    "vlae": autoregressive,
}
"""The module that knows the workloads of a pair, where that is not `whole`."""


def works(model: str) -> tuple[str, ...]:
    """The pieces of work that a pair is timed in."""
    return KINDS.get(model, whole).WORK


def workload(model: str, size: str, dtype: str, work: str, *, compiled: bool = True) -> Workload:
    """The same batch, noise and weights for each: numpy, torch, compiled, and cuda where it is."""
    torch._dynamo.reset()  # else a compiled loss would be made general over all sizes seen before
    config, batch_size = pairs.get(model).sizes[size]
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    make = KINDS.get(model, whole).runs
    runs = make(pairs.get(model), config, batch_size, dtype, work, devices, compiled)
    return Workload(size, dtype, work, runs)


def interleaved(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds a call, A B C A B C ..., one number a round: the median of some calls in a row.

    BLOCK calls, or fewer (one at least) where they would take more than TURN. Each turn begins with
    a call that is not counted, for the idle worker threads of the library that ran before spin for
    a while and its data fills the caches.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(-3, rounds):
        for name, run in runs.items():
            calls = max(1, min(BLOCK, round(TURN / _timed(run))))
            seconds = statistics.median(_timed(run) for _ in range(calls))
            if i >= 0:
                times[name].append(seconds)
    return times


def _timed(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def peak_mib(run: Callable[[], Any]) -> float:
    """The most memory of NumPy arrays and Python objects alive at once during `run`, in MiB.

    Beyond what was alive before: weights, gradients and optimiser buffers are not counted.
    """
    run()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def bench(
    model: str,
    console: Console,
    *,
    rounds: int = 40,
    compiled: bool = True,
    record: Path | None = None,
) -> dict[str, Any]:
    """Time every size, dtype and piece of work of a pair; print, return and record the medians.

    `ratio` is the median over rounds of (this one / torch on the CPU, eager), each ratio taken
    within one round; of a recurrent pair, of (this one / a plain torch module). `peak_mib` is the
    most memory that NumPy holds during a step beyond what it held before; `times_naive`, how much
    longer sampling takes with a full pass for each pixel, from a median of some such passes.
    """
    begun = time.perf_counter()
    base = getattr(KINDS.get(model), "PLAIN", "torch cpu")
    table = Table(title=f"{model}: median ms of {rounds} interleaved rounds (ratio to {base})")
    metrics: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "base": base,
    }
    ways: list[str] = []
    with console.status("timing") as status:
        for size in pairs.get(model).sizes:
            for dtype in ("float64", "float32"):
                for work in works(model):
                    status.update(f"timing {size} {dtype} {work}")
                    load = workload(model, size, dtype, work, compiled=compiled)
                    times = interleaved(load.runs, rounds)
                    metrics[load.name] = _medians(times, base)
                    if work == "step":
                        metrics[load.name]["numpy"]["peak_mib"] = peak_mib(load.runs["numpy"])
                    if not ways:
                        ways = list(times)
                        table.add_column("size, dtype, work")
                        for way in ways:
                            table.add_column(way, justify="right")
                    if work == autoregressive.NAIVE:
                        config, _ = pairs.get(model).sizes[size]
                        autoregressive.times_naive(metrics, load, config)
                    table.add_row(load.name, *(_cell(metrics[load.name].get(w)) for w in ways))
    console.print(table)
    if record is not None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        results.write(
            record,
            name=record.stem,
            command=command_line(),
            seed=0,
            data="random batches",
            device=device,
            time_s=time.perf_counter() - begun,
            metrics=metrics,
        )
    return metrics


def _cell(result: dict[str, float] | None) -> str:
    return "" if result is None else f"{result['ms']:.3f} ({result['ratio']:.2f})"


def _medians(times: dict[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    return {
        name: {
            "ms": 1e3 * statistics.median(seconds),
            "ratio": statistics.median(a / b for a, b in zip(seconds, times[base], strict=True)),
        }
        for name, seconds in times.items()
    }
