"""Densities on [0, 1] for grey values, and the likelihoods p(x|z) that use them.

Each has a log-likelihood (nats, summed over the last axis) and a mean. The Beta distribution is
sampled by Gamma variates, the others by their quantile functions.
Every nll returns `(y, vjp)`; targets are constants, and have no gradient.

Shapes: N examples, L draws from q(z|x), D pixels; `...` stands for any number of axes. The methods
of a likelihood take logits (N, L, D), or (N, L, 2 D) for Beta, and x (N, D).
Source: the definitions, unless a function names a paper.
Right panel: torch_impl/probability/grey_distributions.py
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special

from model_specs.common.key import Key
from numpy_ref.nn.functional import sigmoid
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.probability.distributions import Gaussian
from numpy_ref.probability.sampling import log_gamma_draw, ndtri_exp, sample_by_icdf

SERIES_LIMIT = 1.0  # |logits| below it use the series: radius 2 pi, ten terms are exact to 1e-17
SERIES = [-float(special.zeta(2 * n)) * (-1) ** n / (2 * math.pi) ** (2 * n) for n in range(1, 11)]
SQUEEZE = 1e-6
FAR = 40.0  # a mean of the truncated Gaussian below -FAR max(std, std^2) uses a series
MILLS = [float(special.factorial2(2 * n - 1)) * (-1) ** n for n in range(1, 8)]
MILLS_SLOPE = [n * c for n, c in enumerate(MILLS, 1)]


def continuous_bernoulli_nll(logits: Array, x: Array) -> tuple[Array, Vjp]:
    """-log p(x | logits) = sum_d log((e^l_d - 1) / l_d) - x_d l_d.

    e^-(softplus(l) - x l), from the Bernoulli's cross-entropy, is not a density: its integral over
    [0, 1] is tanh(l / 2) / l, at most 1/2. Divided by that integral it is the density
    p(x) = l e^(l x) / (e^l - 1). Near l = 0, with the zeta function,

        log((e^l - 1) / l) = l / 2 + sum_n (-1)^(n+1) zeta(2 n) / (n (2 pi)^2n) l^2n.

    Shapes: logits (..., D), x broadcast to it, in [0, 1] -> (...).
    Source: Loaiza-Ganem & Cunningham (2019), arXiv 1907.06845, in lambda = sigmoid(l). Where we
    differ: l keeps the digits that lambda loses where it rounds to 1, and the series above is exact
    to the last digit where theirs is a parabola.

    >>> nll, vjp = continuous_bernoulli_nll(np.array([[0.0]]), np.array([[0.75]]))
    >>> nll, vjp(np.ones(1))  # l = 0 is the uniform distribution
    (array([0.]), array([[-0.25]]))
    """
    small, a = _split(logits)
    square = np.where(small, logits, 0) ** 2
    series = square * _polynomial([c / n for n, c in enumerate(SERIES, 1)], square)
    series_value = (0.5 - x) * logits + series
    closed_form = (np.maximum(logits, 0) - x * logits) + (np.log1p(-np.exp(-a)) - np.log(a))
    nll = np.where(small, series_value, closed_form).sum(-1)
    return nll, lambda dnll: dnll[..., None] * (continuous_bernoulli_mean(logits) - x)


def continuous_bernoulli_mean(logits: Array) -> Array:
    """E[x] = d/dl log((e^l - 1) / l) = 1 / (1 - e^-l) - 1 / l. Any shape. Value only.

    >>> continuous_bernoulli_mean(np.array([0.0, 1000.0]))
    array([0.5  , 0.999])
    """
    small, a = _split(logits)
    square = np.where(small, logits, 0) ** 2
    series_value = 0.5 + logits * _polynomial([2 * c for c in SERIES], square)
    e = np.exp(-a)
    closed_form = np.where(logits > 0, 1, -e) / (1 - e) - np.copysign(1 / a, logits)
    return np.where(small, series_value, closed_form)


def continuous_bernoulli_icdf(logits: Array, u: Array) -> Array:
    """The u-quantile, x = log(1 + u (e^l - 1)) / l. Any shape, u in (0, 1). Value only.

    Where l > 0 it is computed for 1 - x, so that no exponent is positive.

    >>> continuous_bernoulli_icdf(np.array([0.0]), np.array([0.3]))
    array([0.3])
    """
    a = np.maximum(np.abs(logits), 1e-30)  # at l = 0, which is uniform, 0 / 0
    x = -np.log1p(np.where(logits > 0, 1 - u, u) * np.expm1(-a)) / a
    return np.where(logits > 0, 1 - x, x)


def beta_nll(logits: Array, log_concentration: Array, x: Array) -> tuple[Array, Vjp]:
    """-log p(x) = sum_d log B(a, b) - (a - 1) log y - (b - 1) log(1 - y) - log(1 - 2 c).

        a = m nu,   b = (1 - m) nu,   m = sigmoid(logits),   nu = exp(log_concentration)
        y = c + (1 - 2 c) x,   c = 1e-6

    This is -log Beta(y; a, b) - log dy/dx. The parameters are the mean m and the concentration nu,
    so that `logits` has the meaning that it has for the Bernoulli, and digamma(a + b) drops out of
    its gradient. The density may be 0 or infinite at 0 and 1, hence y. The mass of the Beta
    outside [c, 1 - c] is lost, so that the integral over x is at most 1: a likelihood is never
    overestimated.

    If a pixel has the same value in all images, its concentration and its density grow without
    bound: dequantise such data. Both parameters are clamped to [-k, k], k = 347 (float32: 42), so
    that a, b and nu neither overflow nor underflow; the gradient beyond is 0.
    Shapes: logits and log_concentration (..., D), x broadcast to them, in [0, 1] -> (...).
    Source: Ferrari & Cribari-Neto (2004), "Beta regression for modelling rates and proportions";
    y after Smithson & Verkuilen (2006), who take c = 1 / (2 N) for N values.

    >>> nll, _ = beta_nll(np.array([[0.0]]), np.log([[2.0]]), np.array([[0.3]]))
    >>> bool(abs(nll[0]) < 1e-5)  # Beta(1, 1) is uniform
    True
    """
    logits, inside_mean = _clamped(logits)
    log_nu, inside_nu = _clamped(log_concentration)
    p, q, nu = sigmoid(logits), sigmoid(-logits), np.exp(log_nu)
    a, b = nu * p, nu * q
    log_y, log_1_y = np.log(_squeezed(x)), np.log(_squeezed(1 - x))  # 1 - y keeps all digits
    terms = special.betaln(a, b) - (a - 1) * log_y - (b - 1) * log_1_y
    nll = (terms - math.log1p(-2 * SQUEEZE)).sum(-1)

    def vjp(dnll: Array) -> tuple[Array, Array]:
        da, db = special.digamma(a) - log_y, special.digamma(b) - log_1_y  # both less digamma(nu)
        dlogits = a * q * (da - db)
        dlog_nu = a * da + b * db - nu * special.digamma(nu)
        return dnll[..., None] * dlogits * inside_mean, dnll[..., None] * dlog_nu * inside_nu

    return nll, vjp


def beta_draw(logits: Array, log_concentration: Array, key: Key) -> Array:
    """Draw y = g / (g + h), g ~ Gamma(a, 1), h ~ Gamma(b, 1), as an x in [0, 1].

    Any shape, float64. Value only.

    >>> y = beta_draw(np.zeros(10_000), np.log(np.full(10_000, 2.0)), Key(0))
    >>> round(float(y.mean()), 1), round(float(y.var()), 2)  # Beta(1, 1) is uniform
    (0.5, 0.08)
    """
    logits, nu = _clamped(logits)[0], np.exp(_clamped(log_concentration)[0])
    a, b = nu * sigmoid(logits), nu * sigmoid(-logits)
    y = sigmoid(log_gamma_draw(a, key.fold_in("a")) - log_gamma_draw(b, key.fold_in("b")))
    return np.clip((y - SQUEEZE) / (1 - 2 * SQUEEZE), 0, 1)


def truncated_gaussian_nll(mean: Array, x: Array, std: float) -> tuple[Array, Vjp]:
    """-log of N(mean, std^2) truncated to [0, 1] = -log N(x; mean, std^2) + log P(0 < X < 1).

        = sum_d (x_d - mean_d)^2 / (2 std^2) + log int_0^1 e^(-(t - mean_d)^2 / (2 std^2)) dt

    `mean` is the mean of the Gaussian before truncation and may be outside [0, 1]; there its square
    is left out of both terms, in which it would cancel. The gradient has the form of an exponential
    family's, (E[x] - x) / std^2. Use a std below 10: the density of a wider one is uniform.
    Far outside, it is an exponential law of rate r = |mean| / std^2, corrected by the series of
    Mills' ratio: int_0^1 = (1 - u + 3 u^2 - 15 u^3 + ...) / r, u = (std / mean)^2.
    Shapes: mean (..., D), x broadcast to it, in [0, 1] -> (...).

    >>> nll, _ = truncated_gaussian_nll(np.array([[0.5]]), np.array([[0.5]]), std=0.1)
    >>> plain = math.log(0.1) + 0.5 * math.log(2 * math.pi)
    >>> round(float(nll[0] - plain), 6)  # 5 standard deviations fit on either side
    -1e-06
    """
    right = mean > 0.5  # reflected at 1/2, so that the nearer end is 0
    m, t = np.where(right, 1 - mean, mean), np.where(right, 1 - x, x)
    square = np.where(m > 0, (t - np.maximum(m, 0)) ** 2, t * (t - 2 * m))
    far, near_m, far_m = _split_far(m, std, FAR)
    u = (std / far_m) ** 2
    far_log = np.log1p(u * _polynomial(MILLS, u)) - np.log(-far_m / std**2)
    log_integral = np.where(far, far_log, np.log(_integral(near_m, std)))
    nll = (square / (2 * std**2) + log_integral).sum(-1)
    return nll, lambda dnll: dnll[..., None] * (truncated_gaussian_mean(mean, std) - x) / std**2


def truncated_gaussian_mean(mean: Array, std: float) -> Array:
    """E[x] = mean + std^2 d/dmean log P(0 < X < 1), X ~ N(mean, std^2). Any shape. Value only.

    >>> truncated_gaussian_mean(np.array([0.5]), std=0.3)
    array([0.5])
    """
    right = mean > 0.5
    far, m, far_m = _split_far(np.where(right, 1 - mean, mean), std, FAR)
    density = np.exp(-0.5 * np.maximum(m, 0) ** 2 / std**2)  # at 0, scaled as the integral
    near_t = m - std**2 * density * np.expm1((2 * m - 1) / (2 * std**2)) / _integral(m, std)
    u = (std / far_m) ** 2
    slope = u * _polynomial(MILLS_SLOPE, u) / (1 + u * _polynomial(MILLS, u))  # u d log / du
    t = np.where(far, -(std**2) / far_m * (1 + 2 * slope), near_t)
    return np.where(right, 1 - t, t)


def truncated_gaussian_icdf(mean: Array, u: Array, std: float) -> Array:
    """The u-quantile, by logarithms of tail probabilities. Any shape, u in (0, 1). Value only.

    >>> truncated_gaussian_icdf(np.array([0.5]), np.array([0.5]), std=0.3)
    array([0.5])
    """
    right = mean > 0.5
    far, m, far_m = _split_far(np.where(right, 1 - mean, mean), std, 1000)
    v = np.where(right, 1 - u, u)
    low, high = (m - 1) / std, m / std  # negated: log Phi is exact in the lower tail
    log_high = special.log_ndtr(high)
    excess = np.expm1(special.log_ndtr(low) - log_high)
    tail = log_high + np.log1p(v * excess)
    e = -np.log1p(-v)  # the quantile of the exponential law of rate 1
    far_x = -(std**2) / far_m * (e - (std / far_m) ** 2 * e * (1 + e / 2))
    x = np.where(far, far_x, std * (high - ndtri_exp(tail)))
    return np.clip(np.where(right, 1 - x, x), 0, 1)


class ContinuousBernoulli(Module):
    """p(x|z) = prod_d l_d e^(l_d x_d) / (e^l_d - 1), with the logits l."""

    support = (0.0, 1.0)

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return continuous_bernoulli_nll(logits, x[:, None])

    def mean(self, logits: Array) -> Array:
        return continuous_bernoulli_mean(logits)

    def sample(self, logits: Array, key: Key) -> Array:
        return sample_by_icdf(continuous_bernoulli_icdf, key, logits)


class Beta(Module):
    """p(x|z) = prod_d Beta(x_d) as in `beta_nll`.

    The decoder's first D outputs are the logits of the mean, its last D the log-concentration.
    """

    support = (0.0, 1.0)

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        mean, log_concentration = np.split(logits, 2, -1)
        nll, nll_vjp = beta_nll(mean, log_concentration, x[:, None])
        return nll, lambda dnll: np.concatenate(nll_vjp(dnll), -1)

    def mean(self, logits: Array) -> Array:
        return sigmoid(np.split(logits, 2, -1)[0])

    def sample(self, logits: Array, key: Key) -> Array:
        mean, log_concentration = np.split(logits.astype(np.float64), 2, -1)
        return beta_draw(mean, log_concentration, key).astype(logits.dtype)


class TruncatedGaussian(Gaussian):
    """p(x|z) = N(x; logits, std^2 I) truncated to [0, 1], as in `truncated_gaussian_nll`."""

    support = (0.0, 1.0)

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return truncated_gaussian_nll(logits, x[:, None], self.std)

    def mean(self, logits: Array) -> Array:
        return truncated_gaussian_mean(logits, self.std)

    def sample(self, logits: Array, key: Key) -> Array:
        return sample_by_icdf(functools.partial(truncated_gaussian_icdf, std=self.std), key, logits)


def _integral(m: Array, std: float) -> Array:
    """int_0^1 e^(-(t - m)^2 / (2 std^2)) dt for m <= 1/2; for m <= 0, without its factor
    e^(-m^2 / (2 std^2)), computed by erfcx instead of erfc.
    """
    low, high = (m - 1) / std, m / std
    inside = 2 * (special.ndtr(high) - special.ndtr(low))
    drop = np.exp((2 * m - 1) / (2 * std**2))
    near_end, far_end = -np.minimum(high, 0) / math.sqrt(2), -low / math.sqrt(2)
    outside = special.erfcx(near_end) - drop * special.erfcx(far_end)
    return std * math.sqrt(math.pi / 2) * np.where(m > 0, inside, outside)


def _split(logits: Array) -> tuple[Array, Array]:
    """A mask of the logits for which the series is used, and |logits|, 1 under the mask."""
    size = np.abs(logits)
    return size < SERIES_LIMIT, np.where(size < SERIES_LIMIT, 1, size)


def _clamped(logits: Array) -> tuple[Array, Array]:
    """The logits within [-k, k], e^(2 k) being finite, and a mask of those that were inside."""
    k = int(-0.49 * math.log(np.finfo(logits.dtype).tiny))
    return np.clip(logits, -k, k), np.abs(logits) <= k


def _split_far(m: Array, std: float, far: float) -> tuple[Array, Array, Array]:
    """A mask of the m that are far below 0, m with 0 in their place, and m with -far elsewhere."""
    mask = m < -far * max(std, std**2)
    return mask, np.where(mask, 0, m), np.where(mask, m, -far * max(std, std**2))


def _polynomial(coefficients: list[float], s: Array) -> Array:
    """c_0 + c_1 s + c_2 s^2 + ..., by Horner's scheme."""
    total = np.zeros_like(s)
    for c in reversed(coefficients):
        total = total * s + c
    return total


def _squeezed(x: Array) -> Array:
    return SQUEEZE + (1 - 2 * SQUEEZE) * x
