"""Batches, a training step, and the loop around it: a learning-rate schedule, and clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from diptych.evaluation.elbo import per_example
from diptych.panels import Panel
from diptych.training.train import NonFiniteError
from model_specs.common.fields import check_positive_int, check_real
from model_specs.common.key import Key
from numpy_ref.nn import optim, random


class TrainingStep(NamedTuple):
    """What one step saw, before it moved the weights."""

    terms: dict[str, float]  # of the loss, "total" first, per example
    grad_norm: float  # before clipping


class History(NamedTuple):
    """What the steps of `fit` saw, an array each, (steps,)."""

    epoch: np.ndarray
    lr: np.ndarray
    grad_norm: np.ndarray  # before clipping
    terms: dict[str, np.ndarray]


def minibatches(x: np.ndarray, batch_size: int, key: Key, epoch: int) -> Iterator[np.ndarray]:
    """All examples in batches, each example once, in an order that is this epoch's own.

        x[order[0 : B]], x[order[B : 2B]], ...   order = permutation(key / "order" / epoch, N)

    The order has an address and no history: any epoch may be taken first, or again.
    Shapes: x (N, ...) -> ceil(N / B) arrays (B, ...), the last one of what is left.
    Raises: ValueError for no examples, a batch_size < 1 or an epoch < 0.
    """
    check_positive_int("batch_size", batch_size)
    if len(x) == 0:
        raise ValueError(f"x: got shape {x.shape}, takes one example or more")
    if epoch < 0:
        raise ValueError(f"epoch: got {epoch}, takes an int >= 0")
    order = random.permutation(key.fold_in("order").fold_in(epoch), len(x))
    return (x[order[start : start + batch_size]] for start in range(0, len(x), batch_size))


def training_step(
    panel: Panel, batch: np.ndarray, key: Key, lr: float, clip: float | None = None
) -> TrainingStep:
    """One step of the panel's optimiser along the gradient of one batch, in training mode.

        g = d loss(batch, noise) / d weights;   g <- g min(1, clip / |g|);   weights <- step(lr, g)

    `key` is this step's own: its noise is drawn from key / "noise". |g| is over all parameters.
    Units: terms in nats per example, where the model's are nats.
    Raises: NonFiniteError, with the weights as they were, where a term is NaN or inf; ValueError
    for a batch that the model refuses, or an lr or a clip that is not above 0.
    """
    check_real("lr", lr, above=0)
    if clip is not None:
        check_real("clip", clip, above=0)
    noise = panel.model.draw_noise(key.fold_in("noise"), len(batch))
    with panel.training():
        terms, _ = panel.forward_backward(batch, noise)
        broken = [f"{name} is {value}" for name, value in terms.items() if not math.isfinite(value)]
        if broken:
            raise NonFiniteError(f"loss term {', '.join(broken)}")
        norm = gradient_norm(panel)
        panel.step(lr, clip)
    return TrainingStep(per_example(panel.model.config, terms, len(batch)), norm)


def gradient_norm(panel: Panel) -> float:
    """|g| = sqrt(sum g_i^2) over the gradients of all parameters, as the last batch left them."""
    gradients = (parameter.grad for parameter in panel.model.parameters())
    return math.sqrt(sum(float((g * g).sum()) for g in gradients if g is not None))


def fit(
    panel: Panel,
    x: np.ndarray,
    key: Key,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    schedule: Callable[[float, int], float] = optim.constant_lr,
    clip: float | None = None,
) -> History:
    """Train for some epochs, at schedule(lr, epoch), and record every step.

    `schedule` is one of numpy_ref.nn.optim's with its options bound, as in
    partial(optim.cosine_lr, epochs=10). Step i, counted through all epochs, has the key key / i, so
    that `diptych train` with the seed of `key` ends in the same weights.
    Raises: NonFiniteError that names the step; ValueError as `minibatches` and `training_step`.
    """
    check_positive_int("epochs", epochs)
    if not callable(schedule):
        raise ValueError(f"schedule: got {schedule!r}, takes a function (lr, epoch) -> lr")
    steps: list[TrainingStep] = []
    at: list[tuple[int, float]] = []
    for epoch in range(epochs):
        rate = schedule(lr, epoch)
        for batch in minibatches(x, batch_size, key, epoch):
            try:
                step = training_step(panel, batch, key.fold_in(len(steps)), rate, clip)
            except NonFiniteError as error:
                raise NonFiniteError(f"step {len(steps)}: {error}") from None
            steps.append(step)
            at.append((epoch, rate))
    return History(
        np.array([epoch for epoch, _ in at]),
        np.array([rate for _, rate in at]),
        np.array([step.grad_norm for step in steps]),
        {name: np.array([step.terms[name] for step in steps]) for name in steps[0].terms},
    )
