"""Estimate log p(x) by importance sampling, in pieces that respect a bound on memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych import pairs
from diptych.arrays import map_arrays, to_numpy
from diptych.evaluation.memory import rows_within
from diptych.panels import Panel
from diptych.remarks import rests_on_one_draw
from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key
from model_specs.common.levels import bits_per_dim


@dataclass(frozen=True)
class Evaluation:
    """Means over the examples, in nats unless a field says otherwise."""

    examples: int
    samples: int
    nll: float
    """-log (1/K) sum_k w_k, w = p(x, z) / q(z|x): Burda et al. 2015, eq. 8, with the sign turned"""
    nll_standard_error: float | None
    """The standard error of `nll` over the examples, None for one example. It includes the variance
    of the importance sampling."""
    elbo: float
    """mean of log w over the same samples; elbo <= -nll, and E[-nll] <= log p(x)"""
    bits_per_dim: float
    """nll / (D log 2), where D counts the values of an example, without a model's margin"""
    effective_samples: float
    """(sum_k w_k)^2 / sum_k w_k^2, from 1 to K: see `Sums.effective_samples`"""
    least_effective_samples: float
    """the smallest effective sample size of any example"""
    one_draw_share: float
    """the share of the examples of which one draw has most of the weight, see diptych.remarks"""


@dataclass
class Sums:
    """Running sums over the importance samples of each example, the state of an evaluation."""

    log_w: np.ndarray
    """sum_k log w_k   (N,) float64, like the other two"""
    log_sum: np.ndarray
    """log sum_k w_k"""
    log_squares: np.ndarray
    """log sum_k w_k^2"""
    done: int = 0
    """number of (example, sample) pairs in the sums, in the order of examples, then of samples"""

    @classmethod
    def empty(cls, examples: int) -> Sums:
        """Return the sums over no samples."""
        return cls(np.zeros(examples), *np.full((2, examples), -np.inf))

    def add(self, rows: slice, log_w: np.ndarray) -> None:
        """Add the next samples of these examples.   log_w (rows, samples)"""
        self.log_w[rows] += log_w.sum(1)
        for sums, values in ((self.log_sum, log_w), (self.log_squares, 2 * log_w)):
            sums[rows] = np.logaddexp(sums[rows], np.logaddexp.reduce(values, axis=1))
        self.done += log_w.size

    def nll(self, samples: int) -> np.ndarray:
        """Return log K - log sum_k w_k of the examples whose K samples are all in.   (N' <= N,)"""
        return math.log(samples) - self.log_sum[: self.done // samples]

    def columns(self, samples: int) -> dict[str, np.ndarray]:
        """Return `nll`, `elbo` and `effective_samples` of each example, the first two in nats."""
        return {
            "nll": self.nll(samples),
            "elbo": self.log_w / samples,
            "effective_samples": self.effective_samples(),
        }

    def effective_samples(self) -> np.ndarray:
        """Return the effective sample sizes ESS = (sum_k w_k)^2 / sum_k w_k^2.

        ESS is 1 if one weight dominates and K if all are equal. The relative variance v of the mean
        weight is about 1/ESS - 1/K; the estimate of log p(x) has a standard deviation of about
        sqrt(v), and the NLL is too high by about v / 2 nats. A mode of p(z|x) that no draw has hit
        does not show in the ESS.
        Shapes: (N,).
        Source: Kong (1992), "A note on importance sampling using standardized weights"; Owen
        (2013), "Monte Carlo theory, methods and examples", section 9.3.
        """
        return np.exp(2 * self.log_sum - self.log_squares)


def importance_weighted(
    panel: Panel,
    x: np.ndarray,
    key: Key,
    samples: int,
    memory_mb: float = 256,
    *,
    sums: Sums | None = None,
    after: Callable[[Sums], None] | None = None,
) -> Evaluation:
    """Estimate log p(x) with K = `samples` draws from q(z|x) for each example.

        log p(x) ~ log (1/K) sum_k exp(log w_k)

    The sum is a running log-sum-exp over pieces that keep memory under `memory_mb`. Sample k of
    example n is draw number n K + k of the key, so the pieces affect rounding but not which numbers
    are drawn. `after` is called with the sums after each piece; pass them as `sums` to resume.

    Raises: ValueError for no examples, K < 1 or a bound too small for one sample, before anything
    is computed; and for a weight that is 0, infinite or NaN.
    """
    check_positive_int("samples", samples)
    check_positive_int("examples", len(x))
    rows = rows_within(memory_mb, panel.model)
    sums = Sums.empty(len(x)) if sums is None else sums
    for part, count in _pieces(len(x), samples, rows, sums.done):
        with panel.evaluating():
            noise = _draw(panel.model, key, part.stop - part.start, count, sums.done)
            log_w = to_numpy(panel.model.log_weight(panel.array(x[part]), noise))
        if not np.isfinite(log_w).all():
            n = part.start + int(np.argwhere(~np.isfinite(log_w))[0, 0])
            raise ValueError(f"example {n}: a log weight is not finite")
        sums.add(part, log_w.astype(np.float64))
        if after is not None:
            after(sums)
    nll, effective = sums.nll(samples), sums.effective_samples()
    values = pairs.traits(panel.model.config).values or x[0].size
    return Evaluation(
        examples=len(x),
        samples=samples,
        nll=float(nll.mean()),
        nll_standard_error=float(nll.std(ddof=1) / math.sqrt(len(x))) if len(x) > 1 else None,
        elbo=float(sums.log_w.mean() / samples),
        bits_per_dim=bits_per_dim(float(nll.mean()), values),
        effective_samples=float(effective.mean()),
        least_effective_samples=float(effective.min()),
        one_draw_share=float(rests_on_one_draw(effective, samples).mean()),
    )


def _pieces(examples: int, samples: int, rows: int, done: int) -> Iterator[tuple[slice, int]]:
    """Yield (examples, number of samples) for each piece: whole examples, or a part of one."""
    while done < examples * samples:
        n, k = divmod(done, samples)
        all_samples = k == 0 and rows >= samples
        stop = min(n + rows // samples, examples) if all_samples else n + 1
        count = samples if all_samples else min(rows, samples - k)
        yield slice(n, stop), count
        done += (stop - n) * count


def _draw(model: Any, key: Key, examples: int, samples: int, first: int) -> Any:
    """Draw the noise of the pairs from number `first` = n K + k on, as (examples, samples, ...).

    A pair is treated as an example with one sample, so it has the same noise in every piece.
    """
    noise = model.draw_noise(key, examples * samples, samples=1, first=first)
    return map_arrays(lambda a: a.reshape(examples, samples, *a.shape[2:]), noise)
