"""The operations of the models in plain torch, as a user without Diptych would write them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from diptych.arrays import to_numpy, to_tensors
from diptych.bench.case import KEY, LR, Case
from diptych.bench.plain import PLAIN, copy_weights
from diptych.bench.steps import Arrays, Steps, torch_operations, torch_update

NAME = "plain torch"


def takes(case: Case) -> bool:
    """True if the plain model has the loss of the panels at their first weights.

    That of the VLAE normalises its masked kernels by another norm.
    """
    return case.model in PLAIN and case.model != "vlae"


def plain_steps(case: Case, device: str = "cpu") -> Steps:
    """The plain model with the weights, the batch and the recipe of a case.

    A VAE gets the noise of the panels; a recurrent model draws other masks than they, so its values
    are those without dropout.
    """
    right = case.pair.right(case.config, KEY, dtype=case.dtype, device=device)
    model = PLAIN[case.model](case.config).to(device, getattr(torch, case.dtype))
    copy_weights(right, model)
    batch = to_tensors(case.batch(), torch.device(device), track=False)
    noise = right.draw_noise(KEY, case.batch_size)
    if case.words:
        loss = lambda: model.loss(batch)  # noqa: E731
    else:
        eps = noise.eps.reshape(case.batch_size, -1)
        loss = lambda: model.loss(batch, eps)  # noqa: E731
    optimizer = getattr(torch.optim, case.recipe.optimizer)(model.parameters(), lr=LR)
    update = torch_update(model, optimizer, case.recipe.clip)

    def values() -> tuple[Arrays, Arrays]:
        model.zero_grad(set_to_none=True)
        with _without_dropout(model):
            total = loss()
        total.backward()
        named = zip(right.named_parameters(), model.parameters(), strict=True)
        gradients = {name: to_numpy(own.grad) for (name, _), own in named if own.grad is not None}
        return {"total": to_numpy(total)}, gradients

    return Steps(torch_operations(model, loss, update), values)


@contextlib.contextmanager
def _without_dropout(model: Any) -> Iterator[None]:
    """Context in which a recurrent model draws no mask."""
    if not hasattr(model, "rate"):
        yield
        return
    before = model.rate, model.body.dropout
    model.rate = model.body.dropout = 0.0
    try:
        yield
    finally:
        model.rate, model.body.dropout = before
