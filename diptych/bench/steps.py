"""Whole models: the loss, its gradients and a training step, as callables that can be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from diptych.arrays import to_numpy, to_tensors
from diptych.bench import clock
from diptych.bench.case import KEY, LR, Case
from diptych.bench.passes import NumpyBackward, TorchBackward, gradients_of
from diptych.panels.panel import terms_of
from numpy_ref.nn import optim
from numpy_ref.nn.module import Module

OPERATIONS = ("forward", "gradients", "step")
"""The loss; the loss and all gradients; the same, clipped where the recipe clips, and a step of the
optimiser."""
Arrays = dict[str, np.ndarray]


class Steps(NamedTuple):
    """The operations of one implementation, and the values that they compute."""

    operations: Mapping[str, Callable[[], Any]]
    values: Callable[[], tuple[Arrays, Arrays]]
    """Computes (loss terms, gradients of the parameters) by the loss that the operations time"""


def numpy_steps(case: Case) -> Steps:
    """The left panel's operations; batch and noise are drawn before they are timed."""
    model = case.pair.left(case.config, KEY, dtype=case.dtype)
    batch = case.batch()
    noise = model.draw_noise(KEY, case.batch_size)
    if case.recipe.draws_masks:
        loss = lambda: model.loss(batch, model.draw_noise(KEY, case.batch_size))  # noqa: E731
    else:
        loss = lambda: model.loss(batch, noise)  # noqa: E731
    optimizer = getattr(optim, case.recipe.optimizer)(model.named_parameters(), lr=LR)

    def update() -> None:
        if case.recipe.clip is not None:
            optim.clip_grad_norm(model.parameters(), case.recipe.clip)
        optimizer.step()

    def values() -> tuple[Arrays, Arrays]:
        model.zero_grad()
        terms, backward = loss()
        backward()
        return _terms(terms), {name: g.copy() for name, g in model.gradients().items()}

    return Steps(numpy_operations(model, loss, update), values)


def torch_steps(
    case: Case, device: str = "cpu", *, compiled: bool = False, capturable: bool = False
) -> Steps:
    """The right panel's operations; with `compiled`, torch.compile fuses the loss.

    With `capturable`, the optimiser counts its steps on the device, as a CUDA graph needs it.
    """
    model = case.pair.right(case.config, KEY, dtype=case.dtype, device=device)
    batch = to_tensors(case.batch(), torch.device(device), track=False)
    noise = model.draw_noise(KEY, case.batch_size)
    compute = model.loss
    if compiled:
        torch._dynamo.reset()  # or torch.compile would generalise over the sizes of earlier cases
        compute = torch.compile(model.loss)
    if case.recipe.draws_masks:
        loss = lambda: compute(batch, model.draw_noise(KEY, case.batch_size))  # noqa: E731
    else:
        loss = lambda: compute(batch, noise)  # noqa: E731
    counts = {"capturable": True} if capturable and case.recipe.optimizer != "SGD" else {}
    make = getattr(torch.optim, case.recipe.optimizer)
    optimizer = make(model.parameters(), lr=LR, foreach=True, **counts)  # as TorchPanel's
    update = torch_update(model, optimizer, case.recipe.clip)

    def values() -> tuple[Arrays, Arrays]:
        model.zero_grad(set_to_none=True)
        terms = loss()
        terms.total.backward()
        return _terms(terms), gradients_of(model)

    return Steps(torch_operations(model, lambda: loss().total, update), values)


def numpy_operations(
    model: Module, loss: Callable[[], Any], update: Callable[[], Any]
) -> dict[str, Callable[[], Any]]:
    """Return the operations of a left model: `loss() -> (terms, backward)`, then `update()`."""
    gradients = NumpyBackward(model, loss)

    def step() -> None:
        gradients()
        update()

    return {"forward": loss, "gradients": gradients, "step": step}


def torch_update(
    model: nn.Module, optimizer: torch.optim.Optimizer, clip: float | None
) -> Callable[[], None]:
    """Return a callable that clips the gradients to the norm `clip`, if any, and takes a step."""

    def update() -> None:
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    return update


def torch_operations(
    model: nn.Module, loss: Callable[[], Tensor], update: Callable[[], Any]
) -> dict[str, Callable[[], Any]]:
    """Return the operations of a torch model: `loss()` gives the total loss, then `update()`."""
    gradients = TorchBackward(model, loss)
    device = next(model.parameters()).device

    def forward() -> None:
        with torch.no_grad():
            loss()
        clock.wait(device)

    def step() -> None:
        gradients()
        update()
        clock.wait(device)

    return {"forward": forward, "gradients": gradients, "step": step}


def _terms(loss: Any) -> Arrays:
    """The named terms of a loss as NumPy arrays."""
    return {name: to_numpy(value) for name, value in terms_of(loss)}
