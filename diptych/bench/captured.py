"""The operations of a model on a GPU, each captured as a CUDA graph.

The kernels are queued once and replayed; batch, noise and weights stay in the same memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from diptych.bench import clock
from diptych.bench.case import Case
from diptych.bench.steps import Steps, torch_steps
from diptych.training.resident.capture import CapturedStep, is_capturable, on_stream
from torch_impl.nn import checks


def captured_steps(case: Case, device: str = "cuda") -> Steps:
    """The right panel's operations, each captured after its first calls."""
    steps = torch_steps(case, device, capturable=True)
    target = torch.device(device)
    operations = {name: captured(run, target) for name, run in steps.operations.items()}
    return Steps(operations, steps.values)


def captured(run: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """A callable that runs `run`, captures it and replays it; on a device without graphs it runs.

    Values are not checked, because a graph cannot read them: those of `run` are always the same.
    Raises: RuntimeError where the operation cannot be captured.
    """

    def without_reading() -> None:
        with checks.deferred(), clock.without_waiting():
            run()

    stream = torch.cuda.Stream(device) if is_capturable(device) else None
    step = CapturedStep(without_reading, stream)

    def replay() -> None:
        with on_stream(stream):
            step()
        if step.failure:
            raise RuntimeError(f"the operation cannot be captured: {step.failure}")
        clock.wait(device)

    return replay
