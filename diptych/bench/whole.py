"""Whole models: forward, gradients, and a step of the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from diptych.bench.workload import Runs
from diptych.pairs.pair import Pair
from model_specs.common.key import Key
from numpy_ref.nn import optim
from numpy_ref.nn.module import as_dtype

WORK = ("forward", "gradients", "step")
"""The loss; the loss and all gradients; the same and one step of the optimiser."""


def runs(
    pair: Pair,
    config: Any,
    batch_size: int,
    dtype: str,
    work: str,
    devices: list[str],
    compiled: bool,
    optimizer: str = "Adam",
) -> Runs:
    """The same batch, noise and weights for each way."""
    key = Key(0).fold_in("bench")
    left = pair.left(config, key, dtype=dtype)
    batch = pair.batch(config, key, as_dtype(dtype), batch_size)
    steps = getattr(optim, optimizer)(left.named_parameters())
    result = {"numpy": _left(left, batch, left.draw_noise(key, batch_size), work, steps)}
    for device in devices:
        ways = {"": False, " compiled": True} if compiled else {"": False}
        for way, compile_it in ways.items():
            right = pair.right(config, key, dtype=dtype, device=device)
            result[f"torch {device}{way}"] = _right(
                right,
                torch.from_numpy(batch).to(device),
                right.draw_noise(key, batch_size),
                work,
                torch.compile(right.loss) if compile_it else right.loss,
                getattr(torch.optim, optimizer)(right.parameters()),
            )
    return result


def _left(model: Any, batch: Any, noise: Any, work: str, optimizer: Any) -> Callable[[], Any]:
    def gradients() -> None:
        model.zero_grad()
        _, backward = model.loss(batch, noise)
        backward()

    def step() -> None:
        gradients()
        optimizer.step()

    return {"forward": lambda: model.loss(batch, noise), "gradients": gradients, "step": step}[work]


def _right(
    model: Any, batch: Any, noise: Any, work: str, loss: Any, optimizer: Any
) -> Callable[[], Any]:
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
        optimizer.step()
        wait()

    return {"forward": forward, "gradients": gradients, "step": step}[work]
