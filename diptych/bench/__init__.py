"""Benchmarks of the panels: implementations are timed in turn, so that noise affects all alike."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from diptych import pairs
from diptych.bench import autoregressive, convolutional, recurrent, whole
from diptych.bench.workload import Workload
from diptych.display import Table
from diptych.runs import results
from diptych.runs.environment import command_line

__all__ = ["Workload", "bench", "interleaved", "operations", "peak_mib", "workload"]

CALLS = 5
"""Calls in a turn of one implementation, at most."""
TURN = 0.1
"""Seconds that a turn should take, at most."""
MODULES: dict[str, Any] = {
    "rnn": recurrent,
    "lstm": recurrent,
    "conv_vae": convolutional,
    "vlae": autoregressive,
}
"""The module that builds the workloads of a pair, `whole` for all others."""


def operations(model: str) -> tuple[str, ...]:
    """Return the operations that are timed for a model, such as "forward" and "step"."""
    return MODULES.get(model, whole).OPERATIONS


def workload(
    model: str, size: str, dtype: str, operation: str, *, compiled: bool = True
) -> Workload:
    """Build one operation of a pair for NumPy, torch, compiled torch, and CUDA if available.

    All implementations have the same batch, noise and weights.
    """
    torch._dynamo.reset()  # or torch.compile would generalise over the sizes of earlier workloads
    config, batch_size = pairs.get(model).sizes[size]
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    module = MODULES.get(model, whole)
    runs = module.runs(pairs.get(model), config, batch_size, dtype, operation, devices, compiled)
    return Workload(size, dtype, operation, runs)


def interleaved(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each callable in turn, A B C A B C ...; returns seconds per call, one number a round.

    A turn takes the median of CALLS calls, fewer if they would exceed TURN. It begins with a call
    that is not counted: the worker threads of the previous library spin for a while, and its data
    fill the caches. Three rounds of warm-up are not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(-3, rounds):
        for name, run in runs.items():
            calls = max(1, min(CALLS, round(TURN / _seconds(run))))
            seconds = statistics.median(_seconds(run) for _ in range(calls))
            if i >= 0:
                times[name].append(seconds)
    return times


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_mib(run: Callable[[], Any]) -> float:
    """Measure the peak memory of NumPy arrays and Python objects allocated during `run`, in MiB.

    Memory allocated before, such as weights, gradients and optimiser buffers, is not counted.
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
    """Time every size, dtype and operation of a pair; print, return and record the medians.

    `ms` is the median time of a call. `ratio` is the median over rounds of the time divided by that
    of the base in the same round; the base is eager torch on the CPU or, for a recurrent pair, the
    plain torch module. `peak_mib` is the memory that NumPy allocates during a step. `times_naive`
    is the time to sample with a full pass for each pixel, divided by that of our sampler.
    """
    start = time.perf_counter()
    base = recurrent.PLAIN if MODULES.get(model) is recurrent else "torch cpu"
    table = Table(title=f"{model}: median ms of {rounds} interleaved rounds (ratio to {base})")
    metrics: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "base": base,
    }
    implementations: list[str] = []
    with console.status("timing") as status:
        for size in pairs.get(model).sizes:
            for dtype in ("float64", "float32"):
                for operation in operations(model):
                    status.update(Text(f"timing {size} {dtype} {operation}"))
                    load = workload(model, size, dtype, operation, compiled=compiled)
                    times = interleaved(load.runs, rounds)
                    metrics[load.name] = _medians(times, base)
                    if operation == "step":
                        metrics[load.name]["numpy"]["peak_mib"] = peak_mib(load.runs["numpy"])
                    if not implementations:
                        implementations = list(times)
                        table.add_column("size, dtype, operation")
                        for name in implementations:
                            table.add_column(name, justify="right")
                    if operation == autoregressive.NAIVE:
                        config, _ = pairs.get(model).sizes[size]
                        autoregressive.add_naive_ratio(metrics, load, config)
                    cells = (_cell(metrics[load.name].get(name)) for name in implementations)
                    table.add_row(load.name, *cells)
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
            time_s=time.perf_counter() - start,
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
