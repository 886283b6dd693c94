"""How good a trained model is: the ELBO's parts, and the error of reconstructions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from diptych import pairs
from diptych.arrays import to_numpy
from diptych.panels import Panel
from model_specs.common.key import Key


def elbo_terms(panel: Panel, x: np.ndarray, key: Key, batch_size: int = 500) -> dict[str, float]:
    """The loss terms of a data set, nats per example, each averaged over it.

    With the reduction "sum", the batch sums are divided by the number of examples.
    """
    sums: dict[str, float] = {}
    for start in range(0, len(x), batch_size):
        part = x[start : start + batch_size]
        with panel.evaluating():
            noise = panel.model.draw_noise(key, len(part), first=start)
            terms = per_example(panel.model.config, panel.terms(part, noise), len(part))
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value * len(part)
    return {name: value / len(x) for name, value in sums.items()}


def reconstruction_error(
    panel: Panel,
    x: np.ndarray,
    batch_size: int = 500,
    pixels: Callable[[np.ndarray], np.ndarray] = np.asarray,
    after: Callable[[int], None] | None = None,
) -> float:
    """Root of the mean squared difference between a value of x and of its reconstruction.

    `pixels` makes of either what is to be compared: x as it is, or an image in [0, 1] without the
    margin that a model adds. `after` is told the size of each batch that is done.
    """
    drawn = pairs.traits(panel.model.config).draws_reconstructions
    squares = count = 0.0
    with panel.evaluating():
        for start in range(0, len(x), batch_size):
            part = panel.array(x[start : start + batch_size])
            message = {"first": start} if drawn else {}
            made = panel.model.reconstruct(part, **message)
            recon, original = (pixels(to_numpy(a)) for a in (made, part))
            squares += float(np.square(recon - original, dtype=np.float64).sum())
            count += original.size
            if after is not None:
                after(len(part))
    return math.sqrt(squares / count)


def per_example(config: object, terms: dict[str, float], batch_size: int) -> dict[str, float]:
    """Loss terms as nats per example, whatever the model's reduction over the batch."""
    scale = 1 / batch_size if pairs.traits(config).reduction == "sum" else 1.0
    return {name: value * scale for name, value in terms.items()}
