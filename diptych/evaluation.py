"""How good a trained model is: the ELBO and its parts, and log p(x) by importance sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from diptych.panels import Panel
from diptych.parity.tree import to_numpy
from model_specs.fields import check_positive_int, check_real
from model_specs.key import Key

ARRAYS = 8
"""So many arrays of the widest layer are alive at a time, about."""
SAMPLE_BLOCK = 64
"""Importance samples drawn under one key. Fixed, so that the memory bound decides how the work is
cut and never which numbers are drawn."""


@dataclass(frozen=True)
class Evaluation:
    """Means over the examples, nats."""

    examples: int
    samples: int
    nll: float
    """-log (1/K) sum_k w_k, w = p(x, z) / q(z|x): Burda et al. 2015, eq. 8, with the sign turned"""
    nll_standard_error: float | None
    """of that mean over examples, None for one example; the spread over importance samples is
    inside it"""
    elbo: float
    """mean of log w over the same samples; elbo <= -nll, and in the mean -nll <= log p(x)"""
    bits_per_dim: float
    """nll / (D log 2), D the values of an example as the model takes it, a margin included"""


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


def importance_weighted(
    panel: Panel,
    x: np.ndarray,
    key: Key,
    samples: int,
    memory_mb: float = 256,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """log p(x) by importance sampling with K = `samples` draws from q(z|x) for each example.

        log p(x) ~ log (1/K) sum_k exp(log w_k)

    added up by a running log-sum-exp, in pieces that keep the largest arrays under `memory_mb`.
    `progress` is called with the number of (example, sample) pairs done.
    Raises: ValueError for K < 1 or a bound too small for one example and one block of samples.
    """
    check_positive_int("samples", samples)
    check_real("memory_mb", memory_mb, above=0)
    rows = memory_mb * 2**20 / (ARRAYS * panel.model.config.widest * panel.model.dtype.itemsize)
    block = min(SAMPLE_BLOCK, samples)
    if rows < block:
        needed = memory_mb * block / rows
        raise ValueError(f"memory_mb: got {memory_mb:g}, takes at least {math.ceil(needed)}")
    log_sum = np.full(len(x), -np.inf)
    total = np.zeros(len(x))
    for piece, first_sample, count in _pieces(len(x), samples, block, rows // block):
        part = x[piece]
        with panel.evaluating():
            noise = panel.model.draw_noise(
                key.fold_in(first_sample), len(part), samples=count, first=piece.start
            )
            log_w = to_numpy(panel.model.log_weight(panel.array(part), noise)).astype(np.float64)
        log_sum[piece] = np.logaddexp(log_sum[piece], np.logaddexp.reduce(log_w, axis=1))
        total[piece] += log_w.sum(1)
        if progress:
            progress(log_w.size)
    nll = math.log(samples) - log_sum
    return Evaluation(
        examples=len(x),
        samples=samples,
        nll=float(nll.mean()),
        nll_standard_error=float(nll.std(ddof=1) / math.sqrt(len(x))) if len(x) > 1 else None,
        elbo=float(total.mean() / samples),
        bits_per_dim=float(nll.mean() / (x[0].size * math.log(2))),
    )


def reconstruction_error(
    panel: Panel,
    x: np.ndarray,
    batch_size: int = 500,
    pixels: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> float:
    """Root of the mean squared difference between a value of x and of its reconstruction.

    `pixels` makes of either what is to be compared: x as it is, or an image in [0, 1] without the
    margin that a model adds.
    """
    squares = count = 0.0
    with panel.evaluating():
        for start in range(0, len(x), batch_size):
            part = panel.array(x[start : start + batch_size])
            recon, original = (pixels(to_numpy(a)) for a in (panel.model.reconstruct(part), part))
            squares += float(np.square(recon - original, dtype=np.float64).sum())
            count += original.size
    return math.sqrt(squares / count)


def per_example(config: object, terms: dict[str, float], batch_size: int) -> dict[str, float]:
    """Loss terms as nats per example, whatever the model's reduction over the batch."""
    scale = 1 / batch_size if getattr(config, "reduction", "mean") == "sum" else 1.0
    return {name: value * scale for name, value in terms.items()}


def _pieces(
    examples: int, samples: int, block: int, per_piece: float
) -> Iterator[tuple[slice, int, int]]:
    """(slice of examples, first sample, number of samples), each pair covered once."""
    width = max(1, int(per_piece))
    for first_sample in range(0, samples, block):
        count = min(block, samples - first_sample)
        for start in range(0, examples, width):
            yield slice(start, min(start + width, examples)), first_sample, count
