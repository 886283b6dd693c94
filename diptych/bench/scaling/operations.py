"""The operation of a sweep at one of its points, as a callable of one backend that can be timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from diptych import pairs
from diptych.arrays import to_tensors
from diptych.bench import recurrent, whole
from diptych.bench.scaling.sweeps import LOG_WEIGHT, Point, Sweep
from diptych.bench.whole import KEY
from numpy_ref.nn.module import as_dtype

BACKENDS = ("numpy", "torch")


def build(sweep: Sweep, value: int, dtype: str, backend: str) -> Callable[[], Any]:
    """The training step, or the importance weights, of one backend on the CPU."""
    point = sweep.point(value)
    if sweep.operation == LOG_WEIGHT:
        return _log_weight(sweep.model, point, dtype, backend)
    pair = pairs.get(sweep.model)
    module: Any = recurrent if pair.inputs == "sequences" else whole
    runs = module.runs(pair, point.config, point.batch_size, dtype, "step", ["cpu"], False)
    return runs[{"numpy": "numpy", "torch": "torch cpu"}[backend]]


def _log_weight(model: str, point: Point, dtype: str, backend: str) -> Callable[[], Any]:
    """log w of K draws of z for each example; the noise is drawn before it is timed."""
    pair = pairs.get(model)
    batch = pair.batch(point.config, KEY, as_dtype(dtype), point.batch_size)
    panel = {"numpy": pair.left, "torch": pair.right}[backend](point.config, KEY, dtype=dtype)
    noise = panel.draw_noise(KEY, point.batch_size, samples=point.draws)
    x = batch if backend == "numpy" else to_tensors(batch, torch.device("cpu"), track=False)
    return lambda: panel.log_weight(x, noise)
