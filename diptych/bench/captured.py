"""A training step as one CUDA graph: the kernels of a step, queued once and replayed.

Only whole operations are captured; the batch, the noise and the weights stay in the same memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from diptych.bench import clock
from diptych.bench.case import Case
from diptych.bench.steps import Steps, torch_steps

WARM_UP = 3
"""Runs before the capture, on a stream of their own, as CUDA graphs need them."""


def captured_steps(case: Case, device: str = "cuda") -> Steps:
    """The right panel's operations, each captured in a CUDA graph when it is first called."""
    steps = torch_steps(case, device, capturable=True)
    target = torch.device(device)
    operations = {name: _captured(run, target) for name, run in steps.operations.items()}
    return Steps(operations, steps.values)


def _captured(run: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """A callable that captures `run` in its first call and replays it in every later one."""
    graphs: list[Any] = []

    def replay() -> None:
        if not graphs:
            graphs.append(capture(run, device))
        graphs[0]()
        clock.wait(device)

    return replay


def capture(run: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """Capture the kernels that `run` queues on a CUDA device; returns the call that replays them.

    Source: "CUDA graphs" in the notes of PyTorch's documentation on CUDA semantics.
    """
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream), clock.without_waiting():
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), clock.without_waiting():
        run()
    replay: Callable[[], Any] = graph.replay
    return replay
