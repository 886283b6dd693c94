"""Evaluate a trained VAE: the terms of the ELBO, and the reconstruction error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from diptych import pairs
from diptych.arrays import to_numpy
from diptych.panels import Panel
from model_specs.common.key import Key


class Part(NamedTuple):
    """A part of a data set in a panel's own arrays, with its noise."""

    batch: Any
    noise: Any
    size: int


def parts_of(panel: Panel, x: np.ndarray, key: Key, batch_size: int = 500) -> Iterator[Part]:
    """Yield `x` in parts of `batch_size` examples, for `mean_terms`."""
    for start in range(0, len(x), batch_size):
        part = x[start : start + batch_size]
        with panel.evaluating():
            noise = panel.model.draw_noise(key, len(part), first=start)
        yield Part(panel.convert(part), noise, len(part))


def elbo_terms(panel: Panel, x: np.ndarray, key: Key, batch_size: int = 500) -> dict[str, float]:
    """Return the mean of each loss term over a data set, in nats per example.

    A model whose reduction is "sum" gives sums over a batch; they are divided by the batch's size.
    """
    return mean_terms(panel, parts_of(panel, x, key, batch_size))


def mean_terms(panel: Panel, parts: Iterable[Part]) -> dict[str, float]:
    """Return the terms of `elbo_terms` over the parts of a data set."""
    sums: dict[str, float] = {}
    count = 0
    for part in parts:
        with panel.evaluating():
            terms = per_example(panel.model.config, panel.terms(part.batch, part.noise), part.size)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value * part.size
        count += part.size
    return {name: value / count for name, value in sums.items()}


def kl_of_maps(panel: Panel, x: np.ndarray, key: Key, batch_size: int = 500) -> np.ndarray:
    """Return the mean KL term of each latent map over a data set, in nats per example.

    With the key of `elbo_terms` their sum is its KL term.
    Shapes: -> (C), C latent maps.
    """
    total = np.zeros(pairs.traits(panel.model.config).latent_maps)
    for part in parts_of(panel, x, key, batch_size):
        with panel.evaluating():
            kl = panel.model.kl_of_maps(part.batch, part.noise)
        total += part.size * to_numpy(kl).astype(np.float64)
    return total / len(x)


def reconstruction_error(
    panel: Panel,
    x: np.ndarray,
    batch_size: int = 500,
    pixels: Callable[[np.ndarray], np.ndarray] = np.asarray,
    after: Callable[[int], None] | None = None,
) -> float:
    """Return the root mean squared error of the reconstructions, per value of an example.

    `pixels` is applied to both sides before the comparison, for instance to remove the margin that
    a model adds to images. `after` is called with the size of each batch when it is done.
    """
    drawn = pairs.traits(panel.model.config).draws_reconstructions
    squares = count = 0.0
    with panel.evaluating():
        for start in range(0, len(x), batch_size):
            part = panel.array(x[start : start + batch_size])
            options = {"first": start} if drawn else {}
            recon = panel.model.reconstruct(part, **options)
            recon, original = (pixels(to_numpy(a)) for a in (recon, part))
            squares += float(np.square(recon - original, dtype=np.float64).sum())
            count += original.size
            if after is not None:
                after(len(part))
    return math.sqrt(squares / count)


def per_example(config: object, terms: dict[str, float], batch_size: int) -> dict[str, float]:
    """Convert loss terms to nats per example, by the model's reduction over the batch."""
    scale = 1 / batch_size if pairs.traits(config).reduction == "sum" else 1.0
    return {name: value * scale for name, value in terms.items()}
