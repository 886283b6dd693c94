"""Densities on [0, 1] for grey values, and the likelihoods p(x|z) that use them.

Each has a log-likelihood (nats, summed over the last axis) and a mean. The Beta distribution is
sampled by Gamma variates, the others by their quantile functions.

Shapes: N examples, L draws from q(z|x), D pixels; `...` stands for any number of axes. The methods
of a likelihood take logits (N, L, D), or (N, L, 2 D) for Beta, and x (N, D).
Source: the definitions, unless a function names a paper.
Left panel: numpy_ref/probability/grey_distributions.py
"""

from __future__ import annotations

import functools
import math

import torch
from scipy import special
from torch import Tensor, nn

from model_specs.common.key import Key
from torch_impl.probability.distributions import Gaussian
from torch_impl.probability.sampling import log_gamma_draw, ndtri_exp, sample_by_icdf

SERIES_LIMIT = 1.0  # |logits| below it use the series: radius 2 pi, ten terms are exact to 1e-17
SERIES = [-float(special.zeta(2 * n)) * (-1) ** n / (2 * math.pi) ** (2 * n) for n in range(1, 11)]
SQUEEZE = 1e-6
FAR = 40.0  # a mean of the truncated Gaussian below -FAR max(std, std^2) uses a series
MILLS = [float(special.factorial2(2 * n - 1)) * (-1) ** n for n in range(1, 8)]
MILLS_SLOPE = [n * c for n, c in enumerate(MILLS, 1)]


def continuous_bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x | logits) = sum_d log((e^l_d - 1) / l_d) - x_d l_d.

    e^-(softplus(l) - x l), from the Bernoulli's cross-entropy, is not a density: its integral over
    [0, 1] is tanh(l / 2) / l, at most 1/2. Divided by that integral it is the density
    p(x) = l e^(l x) / (e^l - 1). Near l = 0, with the zeta function,

        log((e^l - 1) / l) = l / 2 + sum_n (-1)^(n+1) zeta(2 n) / (n (2 pi)^2n) l^2n.

    Shapes: logits (..., D), x broadcast to it, in [0, 1] -> (...).
    Source: Loaiza-Ganem & Cunningham (2019), arXiv 1907.06845, in lambda = sigmoid(l). Where we
    differ: l keeps the digits that lambda loses where it rounds to 1, and the series above is exact
    to the last digit where theirs is a parabola.
    """
    small, a = _split(logits)
    square = logits.masked_fill(~small, 0) ** 2
    series = square * _polynomial([c / n for n, c in enumerate(SERIES, 1)], square)
    series_value = (0.5 - x) * logits + series
    closed_form = (logits.clamp(min=0) - x * logits) + (torch.log1p(-torch.exp(-a)) - torch.log(a))
    return torch.where(small, series_value, closed_form).sum(-1)


def continuous_bernoulli_mean(logits: Tensor) -> Tensor:
    """E[x] = d/dl log((e^l - 1) / l) = 1 / (1 - e^-l) - 1 / l. Any shape. Value only."""
    small, a = _split(logits)
    square = logits.masked_fill(~small, 0) ** 2
    series_value = 0.5 + logits * _polynomial([2 * c for c in SERIES], square)
    e = torch.exp(-a)
    closed_form = torch.where(logits > 0, 1, -e) / (1 - e) - torch.copysign(1 / a, logits)
    return torch.where(small, series_value, closed_form)


def continuous_bernoulli_icdf(logits: Tensor, u: Tensor) -> Tensor:
    """The u-quantile, x = log(1 + u (e^l - 1)) / l. Any shape, u in (0, 1). Value only.

    Where l > 0 it is computed for 1 - x, so that no exponent is positive.
    """
    a = logits.abs().clamp(min=1e-30)  # at l = 0, which is uniform, 0 / 0
    x = -torch.log1p(torch.where(logits > 0, 1 - u, u) * torch.expm1(-a)) / a
    return torch.where(logits > 0, 1 - x, x)


def beta_nll(logits: Tensor, log_concentration: Tensor, x: Tensor) -> Tensor:
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
    Where we differ from the left panel: torch has no log B, and three log-gammas have an error of
    eps nu log nu nats.
    """
    logits = _clamped(logits)
    log_nu = _clamped(log_concentration)
    p, q, nu = torch.sigmoid(logits), torch.sigmoid(-logits), torch.exp(log_nu)
    a, b = nu * p, nu * q
    log_y, log_1_y = torch.log(_squeezed(x)), torch.log(_squeezed(1 - x))
    log_beta = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(nu)
    terms = log_beta - (a - 1) * log_y - (b - 1) * log_1_y
    return (terms - math.log1p(-2 * SQUEEZE)).sum(-1)


def beta_draw(logits: Tensor, log_concentration: Tensor, key: Key) -> Tensor:
    """Draw y = g / (g + h), g ~ Gamma(a, 1), h ~ Gamma(b, 1), as an x in [0, 1].

    Any shape, float64. Value only.
    """
    logits, nu = _clamped(logits), torch.exp(_clamped(log_concentration))
    a, b = nu * torch.sigmoid(logits), nu * torch.sigmoid(-logits)
    y = torch.sigmoid(log_gamma_draw(a, key.fold_in("a")) - log_gamma_draw(b, key.fold_in("b")))
    return ((y - SQUEEZE) / (1 - 2 * SQUEEZE)).clamp(0, 1)


def truncated_gaussian_nll(mean: Tensor, x: Tensor, std: float) -> Tensor:
    """-log of N(mean, std^2) truncated to [0, 1] = -log N(x; mean, std^2) + log P(0 < X < 1).

        = sum_d (x_d - mean_d)^2 / (2 std^2) + log int_0^1 e^(-(t - mean_d)^2 / (2 std^2)) dt

    `mean` is the mean of the Gaussian before truncation and may be outside [0, 1]; there its square
    is left out of both terms, in which it would cancel. The gradient has the form of an exponential
    family's, (E[x] - x) / std^2. Use a std below 10: the density of a wider one is uniform.
    Far outside, it is an exponential law of rate r = |mean| / std^2, corrected by the series of
    Mills' ratio: int_0^1 = (1 - u + 3 u^2 - 15 u^3 + ...) / r, u = (std / mean)^2.
    Shapes: mean (..., D), x broadcast to it, in [0, 1] -> (...).
    """
    right = mean > 0.5  # reflected at 1/2, so that the nearer end is 0
    m, t = torch.where(right, 1 - mean, mean), torch.where(right, 1 - x, x)
    square = torch.where(m > 0, (t - m.clamp(min=0)) ** 2, t * (t - 2 * m))
    far, near_m, far_m = _split_far(m, std, FAR)
    u = (std / far_m) ** 2
    far_log = torch.log1p(u * _polynomial(MILLS, u)) - torch.log(-far_m / std**2)
    log_integral = torch.where(far, far_log, torch.log(_integral(near_m, std)))
    return (square / (2 * std**2) + log_integral).sum(-1)


def truncated_gaussian_mean(mean: Tensor, std: float) -> Tensor:
    """E[x] = mean + std^2 d/dmean log P(0 < X < 1), X ~ N(mean, std^2). Any shape. Value only."""
    right = mean > 0.5
    far, m, far_m = _split_far(torch.where(right, 1 - mean, mean), std, FAR)
    density = torch.exp(-0.5 * m.clamp(min=0) ** 2 / std**2)  # at 0, scaled as the integral
    near_t = m - std**2 * density * torch.expm1((2 * m - 1) / (2 * std**2)) / _integral(m, std)
    u = (std / far_m) ** 2
    slope = u * _polynomial(MILLS_SLOPE, u) / (1 + u * _polynomial(MILLS, u))  # u d log / du
    t = torch.where(far, -(std**2) / far_m * (1 + 2 * slope), near_t)
    return torch.where(right, 1 - t, t)


def truncated_gaussian_icdf(mean: Tensor, u: Tensor, std: float) -> Tensor:
    """The u-quantile, by logarithms of tail probabilities. Any shape, u in (0, 1). Value only."""
    right = mean > 0.5
    far, m, far_m = _split_far(torch.where(right, 1 - mean, mean), std, 1000)
    v = torch.where(right, 1 - u, u)
    low, high = (m - 1) / std, m / std  # negated: log Phi is exact in the lower tail
    log_high = torch.special.log_ndtr(high)
    excess = torch.expm1(torch.special.log_ndtr(low) - log_high)
    tail = log_high + torch.log1p(v * excess)
    e = -torch.log1p(-v)  # the quantile of the exponential law of rate 1
    far_x = -(std**2) / far_m * (e - (std / far_m) ** 2 * e * (1 + e / 2))
    x = torch.where(far, far_x, std * (high - ndtri_exp(tail)))
    return torch.where(right, 1 - x, x).clamp(0, 1)


class ContinuousBernoulli(nn.Module):
    """p(x|z) = prod_d l_d e^(l_d x_d) / (e^l_d - 1), with the logits l."""

    support = (0.0, 1.0)

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return continuous_bernoulli_nll(logits, x[:, None])

    def mean(self, logits: Tensor) -> Tensor:
        return continuous_bernoulli_mean(logits)

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        return sample_by_icdf(continuous_bernoulli_icdf, key, logits)


class Beta(nn.Module):
    """p(x|z) = prod_d Beta(x_d) as in `beta_nll`.

    The decoder's first D outputs are the logits of the mean, its last D the log-concentration.
    """

    support = (0.0, 1.0)

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        mean, log_concentration = logits.chunk(2, -1)
        return beta_nll(mean, log_concentration, x[:, None])

    def mean(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits.chunk(2, -1)[0])

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        mean, log_concentration = logits.double().chunk(2, -1)
        return beta_draw(mean, log_concentration, key).to(logits.dtype)


class TruncatedGaussian(Gaussian):
    """p(x|z) = N(x; logits, std^2 I) truncated to [0, 1], as in `truncated_gaussian_nll`."""

    support = (0.0, 1.0)

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return truncated_gaussian_nll(logits, x[:, None], self.std)

    def mean(self, logits: Tensor) -> Tensor:
        return truncated_gaussian_mean(logits, self.std)

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        return sample_by_icdf(functools.partial(truncated_gaussian_icdf, std=self.std), key, logits)


def _integral(m: Tensor, std: float) -> Tensor:
    """int_0^1 e^(-(t - m)^2 / (2 std^2)) dt for m <= 1/2; for m <= 0, without its factor
    e^(-m^2 / (2 std^2)), computed by erfcx instead of erfc.
    """
    low, high = (m - 1) / std, m / std
    inside = 2 * (torch.special.ndtr(high) - torch.special.ndtr(low))
    drop = torch.exp((2 * m - 1) / (2 * std**2))
    near_end, far_end = -high.clamp(max=0) / math.sqrt(2), -low / math.sqrt(2)
    outside = torch.special.erfcx(near_end) - drop * torch.special.erfcx(far_end)
    return std * math.sqrt(math.pi / 2) * torch.where(m > 0, inside, outside)


def _split(logits: Tensor) -> tuple[Tensor, Tensor]:
    """A mask of the logits for which the series is used, and |logits|, 1 under the mask."""
    size = logits.abs()
    return size < SERIES_LIMIT, size.masked_fill(size < SERIES_LIMIT, 1)


def _clamped(logits: Tensor) -> Tensor:
    """The logits within [-k, k], e^(2 k) being finite."""
    k = int(-0.49 * math.log(torch.finfo(logits.dtype).tiny))
    return logits.clamp(-k, k)


def _split_far(m: Tensor, std: float, far: float) -> tuple[Tensor, Tensor, Tensor]:
    """A mask of the m that are far below 0, m with 0 in their place, and m with -far elsewhere."""
    mask = m < -far * max(std, std**2)
    return mask, m.masked_fill(mask, 0), m.masked_fill(~mask, -far * max(std, std**2))


def _polynomial(coefficients: list[float], s: Tensor) -> Tensor:
    """c_0 + c_1 s + c_2 s^2 + ..., by Horner's scheme."""
    total = torch.zeros_like(s)
    for c in reversed(coefficients):
        total = total * s + c
    return total


def _squeezed(x: Tensor) -> Tensor:
    return SQUEEZE + (1 - 2 * SQUEEZE) * x
