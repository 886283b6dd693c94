"""One training step: the loss, its gradients, clipping, and a step of the optimiser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from diptych.evaluation.elbo import per_example
from diptych.panels import Panel
from diptych.tasks.base import TrainingBatch


class NonFiniteError(ValueError):
    """A loss term or a weight became NaN or inf; the message says at which step, and which."""


class StepResult(NamedTuple):
    """The outcome of one training step."""

    terms: dict[str, float]  # of the loss before the step, "total" first, per example
    grad_norm: float | None  # before clipping; None unless it was measured
    state: Any  # of a recurrent model, for the next batch; else None


def training_step(
    panel: Panel,
    batch: TrainingBatch,
    lr: float,
    clip: float | None = None,
    *,
    measure_norm: bool = False,
) -> StepResult:
    """Move the weights by one step of the panel's optimiser.

        g = d loss(inputs, noise) / d weights;  g <- g min(1, clip / |g|);  weights <- step(lr, g)

    With `measure_norm` the result has |g|, the norm over all parameters, which costs one more pass
    over them. Units: terms in nats per example, where the model's are nats.
    Raises: NonFiniteError, with the weights unchanged, if a loss term is NaN or inf.
    """
    terms, state = panel.forward_backward(batch.inputs, batch.noise, batch.share)
    check_finite(terms)
    norm = gradient_norm(panel) if measure_norm else None
    panel.step(lr, clip)
    return StepResult(per_example(panel.model.config, terms, batch.size), norm, state)


def check_finite(terms: Mapping[str, float]) -> None:
    """Raise NonFiniteError if a loss term is NaN or inf."""
    broken = [f"{name} is {value}" for name, value in terms.items() if not math.isfinite(value)]
    if broken:
        raise NonFiniteError(f"loss term {', '.join(broken)}")


def gradient_norm(panel: Panel) -> float:
    """|g| = sqrt(sum g_i^2) over the current gradients of all parameters."""
    gradients = (parameter.grad for parameter in panel.model.parameters())
    return math.sqrt(sum(panel.floats((g * g).sum() for g in gradients if g is not None)))
