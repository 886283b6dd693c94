"""Benchmarks of whole models: the loss, its gradients, and a step of the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diptych.bench.passes import numpy_backward, synchronize, torch_backward
from diptych.bench.workload import Runs
from diptych.pairs.pair import Pair
from model_specs.common.key import Key
from numpy_ref.nn import optim
from numpy_ref.nn.module import Module, as_dtype

OPERATIONS = ("forward", "gradients", "step")
"""The loss; the loss and all gradients; the same and one step of the optimiser."""
KEY = Key(0).fold_in("bench")


def runs(
    pair: Pair,
    config: Any,
    batch_size: int,
    dtype: str,
    operation: str,
    devices: list[str],
    compiled: bool,
    optimizer: str = "Adam",
) -> Runs:
    """Return a callable for each implementation, all with the same batch, noise and weights."""
    left = pair.left(config, KEY, dtype=dtype)
    batch = pair.batch(config, KEY, as_dtype(dtype), batch_size)
    noise = left.draw_noise(KEY, batch_size)
    update = getattr(optim, optimizer)(left.named_parameters()).step
    callables = {"numpy": numpy_model(left, lambda: left.loss(batch, noise), update)[operation]}
    for device in devices:
        for compile_loss in (False, True) if compiled else (False,):
            right = pair.right(config, KEY, dtype=dtype, device=device)
            name = f"torch {device} compiled" if compile_loss else f"torch {device}"
            callables[name] = torch_model(
                right,
                _loss(right, torch.from_numpy(batch).to(device), batch_size, compile_loss),
                getattr(torch.optim, optimizer)(right.parameters()).step,
            )[operation]
    return callables


def _loss(model: Any, batch: Tensor, batch_size: int, compile_loss: bool) -> Callable[[], Tensor]:
    noise = model.draw_noise(KEY, batch_size)
    loss = torch.compile(model.loss) if compile_loss else model.loss
    return lambda: loss(batch, noise).total


def numpy_model(
    model: Module, loss: Callable[[], Any], update: Callable[[], Any]
) -> dict[str, Callable[[], Any]]:
    """Return the operations of a left model: `loss() -> (terms, backward)`, then `update()`."""
    gradients = numpy_backward(model, loss)

    def step() -> None:
        gradients()
        update()

    return {"forward": loss, "gradients": gradients, "step": step}


def torch_model(
    model: nn.Module, loss: Callable[[], Tensor], update: Callable[[], Any]
) -> dict[str, Callable[[], Any]]:
    """Return the operations of a torch model: `loss()` gives the total loss, then `update()`."""
    gradients = torch_backward(model, loss)

    def forward() -> None:
        with torch.no_grad():
            synchronize(loss())

    def step() -> None:
        gradients()
        update()
        synchronize(next(model.parameters()))

    return {"forward": forward, "gradients": gradients, "step": step}
