"""Densities on [0, 1], for grey values. Nats, one number an example, summed over the last axis.

Each has its mean, and the inverse of its distribution function, by which it is sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import special
from torch import Tensor

NEAR = 1.0  # |logits| below which the series stands: its radius is 2 pi, ten terms leave 1e-17
SERIES = [-float(special.zeta(2 * n)) * (-1) ** n / (2 * math.pi) ** (2 * n) for n in range(1, 11)]
SQUEEZE = 1e-6


def continuous_bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x | logits) = sum_d log((e^l_d - 1) / l_d) - x_d l_d.

    The Bernoulli's cross-entropy softplus(l) - x l gives no density: over [0, 1] the integral of
    e^(x l - softplus(l)) is tanh(l / 2) / l, at most 1/2. Divided by it that is the density
    p(x) = l e^(l x) / (e^l - 1), and the softplus is gone. Near l = 0, with the zeta function,

        log((e^l - 1) / l) = l / 2 + sum_n (-1)^(n+1) zeta(2 n) / (n (2 pi)^2n) l^2n.

    Shapes: logits (..., D), x broadcast to it, in [0, 1] -> (...).
    Source: Loaiza-Ganem & Cunningham (2019), arXiv 1907.06845, there in lambda = sigmoid(l). Where
    we differ: in l nothing is lost where lambda rounds to 1, and the series has every digit where
    theirs is a parabola.
    """
    near, a = _split(logits)
    square = (logits * logits).masked_fill(~near, 0)
    series = square * _polynomial([c / n for n, c in enumerate(SERIES, 1)], square)
    close = (0.5 - x) * logits + series
    far = (logits.clamp(min=0) - x * logits) + (torch.log1p(-torch.exp(-a)) - torch.log(a))
    return torch.where(near, close, far).sum(-1)


def continuous_bernoulli_mean(logits: Tensor) -> Tensor:
    """E[x] = d/dl log((e^l - 1) / l) = 1 / (1 - e^-l) - 1 / l. Any shape. Value only."""
    near, a = _split(logits)
    square = (logits * logits).masked_fill(~near, 0)
    close = 0.5 + logits * _polynomial([2 * c for c in SERIES], square)
    e = torch.exp(-a)
    far = torch.where(logits > 0, 1, -e) / (1 - e) - torch.copysign(1 / a, logits)
    return torch.where(near, close, far)


def continuous_bernoulli_icdf(logits: Tensor, u: Tensor) -> Tensor:
    """The x with P(X < x) = u: log(1 + u (e^l - 1)) / l. Any shape, u in (0, 1). Value only.

    Turned about 1/2 where l > 0, so that no exponent is positive.
    """
    a = logits.abs().clamp(min=1e-30)  # a uniform distribution, without 0 / 0
    x = -torch.log1p(torch.where(logits > 0, 1 - u, u) * torch.expm1(-a)) / a
    return torch.where(logits > 0, 1 - x, x)


def beta_nll(logits: Tensor, log_concentration: Tensor, x: Tensor) -> Tensor:
    """-log Beta(y; m nu, (1 - m) nu) - D log(1 - 2 c), m = sigmoid(logits), nu = exp(the second).

        = sum_d log B(a, b) - (a - 1) log y - (b - 1) log(1 - y) - log(1 - 2 c)

    By mean and concentration rather than by log a and log b: so the first output is the mean's
    logit as it is the Bernoulli's, the second says how sure, and digamma(a + b) drops out of the
    first one's gradient. As a density may be 0 or infinite at 0 and 1, x is squeezed:
    y = c + (1 - 2 c) x, c = 1e-6; what of the Beta lies outside of [c, 1 - c] is lost, so the
    integral over x is at most 1, and a likelihood is never flattered.

    Where a pixel has one value in all images the concentration, and the density, grow without end:
    dequantise such data. torch has no log B: three log-gammas keep eps nu log nu nats of it.
    Shapes: logits and log_concentration (..., D), x broadcast to them, in [0, 1] -> (...).
    Source: Ferrari & Cribari-Neto (2004), "Beta regression for modelling rates and proportions";
    the squeeze after Smithson & Verkuilen (2006), where c is 1 / (2 N).
    """
    nu = torch.exp(log_concentration)
    a, b = nu * torch.sigmoid(logits), nu * torch.sigmoid(-logits)
    log_y, log_1_y = torch.log(_squeezed(x)), torch.log(_squeezed(1 - x))
    log_beta = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(nu)
    terms = log_beta - (a - 1) * log_y - (b - 1) * log_1_y
    return (terms - math.log1p(-2 * SQUEEZE)).sum(-1)


def beta_icdf(logits: Tensor, log_concentration: Tensor, u: Tensor) -> Tensor:
    """The x with P(X < x) = u, without the squeeze. Any shape, u in (0, 1). Value only."""
    nu = torch.exp(log_concentration)
    a, b = nu * torch.sigmoid(logits), nu * torch.sigmoid(-logits)
    y = _by_scipy(special.betaincinv, a, b, u)
    return ((y - SQUEEZE) / (1 - 2 * SQUEEZE)).clamp(0, 1)


def truncated_gaussian_nll(mean: Tensor, x: Tensor, std: float) -> Tensor:
    """-log N(x; mean, std^2) + sum_d log P(0 < N(mean_d, std^2) < 1): normalised over [0, 1].

        = sum_d (x_d - mean_d)^2 / (2 std^2) + log of the integral of e to the minus that

    `mean` is the Gaussian's before it is cut, and may lie anywhere; where it lies outside, its
    square is taken out of both terms, and no digit is lost to it. The gradient is that of any
    exponential family, (E[x] - x) / std^2. For a std below 10: what is wider is flat on [0, 1].
    Shapes: mean (..., D), x broadcast to it, in [0, 1] -> (...).
    """
    right = mean > 0.5  # turned about 1/2, so that the nearer end is 0
    m, t = torch.where(right, 1 - mean, mean), torch.where(right, 1 - x, x)
    square = torch.where(m > 0, (t - m) ** 2, t * (t - 2 * m))
    return (square / (2 * std**2) + torch.log(_integral(m, std))).sum(-1)


def truncated_gaussian_mean(mean: Tensor, std: float) -> Tensor:
    """E[x] = mean + std^2 d/dmean log P(0 < N(mean, std^2) < 1). Any shape. Value only."""
    right = mean > 0.5
    m = torch.where(right, 1 - mean, mean)
    density = torch.exp(-0.5 * m.clamp(min=0) ** 2 / std**2)  # at 0, and so scaled as the integral
    t = m - std**2 * density * torch.expm1((2 * m - 1) / (2 * std**2)) / _integral(m, std)
    return torch.where(right, 1 - t, t)


def truncated_gaussian_icdf(mean: Tensor, u: Tensor, std: float) -> Tensor:
    """The x with P(X < x) = u, by logarithms of tails. Any shape, u in (0, 1). Value only."""
    right = mean > 0.5
    m = torch.where(right, 1 - mean, mean)
    low, high = (m - 1) / std, m / std  # of minus the draw: in the lower tail log Phi is exact
    log_high = torch.special.log_ndtr(high)
    excess = torch.expm1(torch.special.log_ndtr(low) - log_high)
    tail = log_high + torch.log1p(torch.where(right, 1 - u, u) * excess)
    x = std * (high - _by_scipy(special.ndtri_exp, tail))
    return torch.where(right, 1 - x, x).clamp(0, 1)


def _integral(m: Tensor, std: float) -> Tensor:
    """Over t in [0, 1] of e^(-(t - m)^2 / (2 std^2)), m <= 1/2; for m <= 0 without its factor
    e^(-m^2 / (2 std^2)), which erfcx leaves out of erfc.
    """
    low, high = (m - 1) / std, m / std
    inside = 2 * (torch.special.ndtr(high) - torch.special.ndtr(low))
    drop = torch.exp((2 * m - 1) / (2 * std**2))
    near, far = -high.clamp(max=0) / math.sqrt(2), -low / math.sqrt(2)
    outside = torch.special.erfcx(near) - drop * torch.special.erfcx(far)
    return std * math.sqrt(math.pi / 2) * torch.where(m > 0, inside, outside)


def _split(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Where the series stands, and |logits|, 1 there."""
    size = logits.abs()
    return size < NEAR, size.masked_fill(size < NEAR, 1)


def _polynomial(coefficients: list[float], s: Tensor) -> Tensor:
    """c_0 + c_1 s + c_2 s^2 + ..., by Horner's rule."""
    total = torch.zeros_like(s)
    for c in reversed(coefficients):
        total = total * s + c
    return total


def _squeezed(x: Tensor) -> Tensor:
    return SQUEEZE + (1 - 2 * SQUEEZE) * x


def _by_scipy(function: Callable[..., np.ndarray], *arguments: Tensor) -> Tensor:
    """On the CPU, for sampling only: torch has no inverse of the incomplete Beta function, and its
    inverse of Phi underflows in the tail."""
    result = function(*(argument.detach().cpu().numpy() for argument in arguments))
    return torch.as_tensor(result).to(arguments[0])
