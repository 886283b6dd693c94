"""How fast each panel is: workloads, timed in turn so that a machine's moods strike all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from diptych import pairs, results
from diptych.run import command_line
from model_specs.key import Key
from numpy_ref import optim
from numpy_ref.module import as_dtype

BLOCK = 5
WORK = ("forward", "gradients", "step")
"""The loss; the loss and all gradients; the same and one Adam step."""


@dataclass(frozen=True)
class Workload:
    """One model, size, dtype and piece of work, as a callable for each way to run it."""

    size: str
    dtype: str
    work: str
    runs: Mapping[str, Callable[[], Any]]

    @property
    def name(self) -> str:
        return f"{self.size} {self.dtype} {self.work}"


def workload(model: str, size: str, dtype: str, work: str, *, compiled: bool = True) -> Workload:
    """The same batch, noise and weights for each: numpy, torch, compiled, and cuda where it is."""
    torch._dynamo.reset()  # else a compiled loss would be made general over all sizes seen before
    pair = pairs.get(model)
    config, batch_size = pair.sizes[size]
    key = Key(0).fold_in("bench")
    left = pair.left(config, key, dtype=dtype)
    batch = pair.batch(config, key, as_dtype(dtype), batch_size)
    runs = {"numpy": _left(left, batch, left.draw_noise(key, batch_size), work)}
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        ways = {"": False, " compiled": True} if compiled else {"": False}
        for way, compile_it in ways.items():
            right = pair.right(config, key, dtype=dtype, device=device)
            name = f"torch {device}{way}"
            runs[name] = _right(
                right,
                torch.from_numpy(batch).to(device),
                right.draw_noise(key, batch_size),
                work,
                torch.compile(right.loss) if compile_it else right.loss,
            )
    return Workload(size, dtype, work, runs)


def _left(model: Any, batch: Any, noise: Any, work: str) -> Callable[[], Any]:
    adam = optim.Adam(model.named_parameters())

    def gradients() -> None:
        model.zero_grad()
        _, backward = model.loss(batch, noise)
        backward()

    def step() -> None:
        gradients()
        adam.step()

    return {"forward": lambda: model.loss(batch, noise), "gradients": gradients, "step": step}[work]


def _right(model: Any, batch: Any, noise: Any, work: str, loss: Any) -> Callable[[], Any]:
    adam = torch.optim.Adam(model.parameters())

    def wait() -> None:
        if batch.is_cuda:
            torch.cuda.synchronize()

    def forward() -> None:
        with torch.no_grad():
            loss(batch, noise)
        wait()

    def gradients() -> None:
        model.zero_grad(set_to_none=True)
        loss(batch, noise).total.backward()
        wait()

    def step() -> None:
        gradients()
        adam.step()
        wait()

    return {"forward": forward, "gradients": gradients, "step": step}[work]


def interleaved(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds a call, A B C A B C ..., one number a round: the median of BLOCK calls in a row.

    Each turn begins with a call that is not counted, for the idle worker threads of the library
    that ran before spin for a while and its data fills the caches.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(-3, rounds):
        for name, run in runs.items():
            run()
            seconds = statistics.median(_timed(run) for _ in range(BLOCK))
            if i >= 0:
                times[name].append(seconds)
    return times


def _timed(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


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
    within one round.
    """
    begun = time.perf_counter()
    table = Table(title=f"{model}: median ms of {rounds} interleaved rounds (ratio to torch cpu)")
    metrics: dict[str, Any] = {"threads": torch.get_num_threads(), "rounds": rounds}
    ways: list[str] = []
    with console.status("timing") as status:
        for size in pairs.get(model).sizes:
            for dtype in ("float64", "float32"):
                for work in WORK:
                    status.update(f"timing {size} {dtype} {work}")
                    load = workload(model, size, dtype, work, compiled=compiled)
                    times = interleaved(load.runs, rounds)
                    metrics[load.name] = _medians(times)
                    if not ways:
                        ways = list(times)
                        for heading in ("size, dtype, work", *ways):
                            table.add_column(heading, justify="right" if ways else "left")
                    cells = (metrics[load.name][way] for way in ways)
                    table.add_row(load.name, *(f"{c['ms']:.3f} ({c['ratio']:.2f})" for c in cells))
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


def _medians(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    base = times["torch cpu"]
    return {
        name: {
            "ms": 1e3 * statistics.median(seconds),
            "ratio": statistics.median(a / b for a, b in zip(seconds, base, strict=True)),
        }
        for name, seconds in times.items()
    }
