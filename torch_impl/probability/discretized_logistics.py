"""The discretised mixture of logistics: a probability for each of the 256 levels of a pixel.

A pixel x in {0, 1/255, ..., 1} has the level k = 255 x and the value y = 2 x - 1 in [-1, 1]. Its
probability under one logistic distribution of mean m and scale s is that of the interval of width
2/255 around y; the intervals of the levels 0 and 255 are open. So the 256 probabilities are a
partition of the real line, and their sum is 1 for every m and s.

In a colour image the three channels of a component depend on each other in the order R, G, B by
linear coefficients, and a pixel is a mixture of M components:

    p(x) = sum_i pi_i P_i(R) P_i(G | R) P_i(B | R, G)

The P parameters of a pixel are M logits of pi, then for each channel M means, M log-scales and, in
colour, M coefficients: P = M (1 + 2) for grey, M (1 + 3 * 3) for colour. The three coefficients
are that of R in the mean of G, of R in the mean of B, and of G in the mean of B.

Shapes: N images of C channels, 1 or 3; `...` stands for the axes of the pixels, H and W or none.
Units: nats.
Source: Salimans, Karpathy, Chen & Kingma (2017), PixelCNN++, arXiv 1701.05517, equations 1 to 3,
and the layout of the parameters of their code. Where we differ: they replace the probability by the
density where it is below 1e-5; here it is exact everywhere.
Left panel: numpy_ref/probability/discretized_logistics.py
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from model_specs.common.levels import (
    LEVELS,
    LOG_SCALE_MIN,
    image_channels,
    kinds,
    mixture_components,
)
from torch_impl.nn.functional import logsumexp, softmax

LOG_WIDTH = math.log(2 / (LEVELS - 1))
"""The logarithm of the width of a level on [-1, 1]."""
FAR = 1e4
"""Stands for an infinite edge in units of the scale: e^-FAR is 0, and FAR e^-FAR too."""


def discretized_logistic(mean: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
    """log P(k) = log(sigmoid(a) - sigmoid(b)), the logarithm of the probability of a level.

        w = 2 / (255 s),   d = k - 127.5 (m + 1),   a = (d + 1/2) w,   b = (d - 1/2) w
        log P = log sigmoid(a) + log sigmoid(-b) + log(1 - e^-w)

    w is the width of a level in units of the scale s = exp(max(log_scale, -7)), d the distance of
    the level from the mean in levels, and a and b are the edges of its interval; a is infinite at
    level 255 and b at level 0. log(1 - e^-w) is log w + log((1 - e^-w) / w), in which w may
    underflow. The left panel derives the product and its gradient. The gradient of a log-scale
    below the floor -7 is 0.
    F.logsigmoid keeps all digits; F.softplus would not: above 20 it returns its argument.
    Any shapes that broadcast; x has the values k / 255.
    """
    log_width = LOG_WIDTH - log_scale.clamp_min(LOG_SCALE_MIN)
    width = torch.exp(log_width).clamp_min(torch.finfo(log_scale.dtype).tiny)
    level = torch.round((LEVELS - 1) * x)
    upper, lower = level < LEVELS - 1, level > 0  # the interval ends on this side
    distance = level - 127.5 * (mean + 1)
    a = torch.where(upper, (distance + 0.5) * width, FAR)
    b = torch.where(lower, (distance - 0.5) * width, -FAR)
    share = -torch.expm1(-width)  # 1 - e^-w
    log_share = torch.where(upper & lower, log_width + torch.log(share / width), 0)
    log_below_a = F.logsigmoid(a)
    log_above_b = F.logsigmoid(-b)
    return log_below_a + log_above_b + log_share


def conditional_means(means: Tensor, y: Tensor, *coefficients: Tensor) -> Tensor:
    """The means of R, of G given R, and of B given R and G, at the values y of a pixel.

        mu_R = m_R,   mu_G = m_G + alpha y_R,   mu_B = m_B + beta y_R + gamma y_G

    alpha, beta and gamma are tanh(coefficients). A grey image has none, and there mu = m.
    Shapes: means and coefficients (N, 3, ...), y (N, 3, ...) in [-1, 1] broadcast to them; without
    coefficients (N, 1, ...).
    """
    if not coefficients:
        return means
    tanh = torch.tanh(coefficients[0])
    red, green = y[:, 0], y[:, 1]
    mu_green = means[:, 1] + tanh[:, 0] * red
    mu_blue = means[:, 2] + tanh[:, 1] * red + tanh[:, 2] * green
    return torch.stack((means[:, 0], mu_green, mu_blue), 1)


def split_params(params: Tensor, channels: int) -> tuple[Tensor, ...]:
    """The logits (N, M, ...), and (N, C, M, ...) means, log-scales and, in colour, coefficients.

    Shapes: params (N, P, ...).
    Raises: ValueError for a P that is not that of some number of components M.
    """
    M = mixture_components(params.shape[1], channels)
    shape = len(params), channels, kinds(channels), M, *params.shape[2:]
    return params[:, :M], *params[:, M:].reshape(shape).unbind(2)


def discretized_logistic_mixture_nll(params: Tensor, x: Tensor) -> Tensor:
    """-log p(x), summed over the pixels and the channels of each image.

        -log p = sum over pixels of log sum_i e^l_i - log sum_i e^(l_i + sum_c log P_ic)

    x is rounded to the nearest level; the models check that it is one.
    Shapes: params (N, P, ...), x (N, C, ...) with values k / 255 -> (N).
    Raises: ValueError for other channels than 1 and 3.
    """
    channels = image_channels("x", x.shape)
    logits, means, log_scales, *coefficients = split_params(params, channels)
    pixels = x[:, :, None]
    mu = conditional_means(means, _values(pixels), *coefficients)
    log_probs = discretized_logistic(mu, log_scales, pixels)
    joint = logsumexp(logits + log_probs.sum(1), 1)
    normaliser = logsumexp(logits, 1)
    return (normaliser - joint).reshape(len(x), -1).sum(1)


@torch.no_grad()
def discretized_logistic_mixture_mean(params: Tensor, channels: int) -> Tensor:
    """The mean of a pixel in [0, 1], the expectation over its 256 levels. Value only.

        E[x] = sum_i pi_i E_i[x],   E_i[x] = 1/255 sum_{j=1}^{255} P_i(k >= j)

    It is exact for grey and for R. The mean of G is computed at the mean of R, and that of B at
    those of R and G, instead of as an expectation over their 256 or 65536 values: the same, as
    long as the mass is far from both ends and a scale is not below the width of a level.
    Shapes: params (N, P, ...) -> (N, C, ...).
    """
    logits, means, log_scales, *coefficients = split_params(params, channels)
    y = torch.zeros_like(means)
    for c in range(channels):
        mu = conditional_means(means, y, *coefficients)
        y[:, c] = _mean_of_levels(mu[:, c], log_scales[:, c])
    return (softmax(logits, 1)[:, None] * (y + 1) / 2).sum(2)


@torch.no_grad()
def discretized_logistic_mixture_sample(params: Tensor, u: Tensor) -> Tensor:
    """A draw from p(x) by the quantiles u of the component, and of each channel in turn.

        i: the first with pi_1 + ... + pi_i > u_0
        y_c = mu_ic + s_ic (log u_c - log(1 - u_c)),   to the nearest level, 0 and 255 at the ends

    u is in [0, 1), a multiple of 2^-24 as `random.uniform` draws it, and stands for the midpoint
    of its cell. Levels with a probability below 2^-24 are drawn too often or never. Computed in
    float64.
    Shapes: params (N, P, ...), u (N, 1 + C, ...) -> (N, C, ...), with values k / 255.
    Raises: ValueError for other channels than 1 and 3.
    """
    channels = image_channels("u", u.shape, others=1)
    logits, *parts = split_params(params.double(), channels)
    u = u.double() + 2.0**-25
    cumulative = torch.cumsum(torch.exp(logits - logits.amax(1, keepdim=True)), 1)
    index = (cumulative <= u[:, :1] * cumulative[:, -1:]).sum(1, keepdim=True)
    means, log_scales, *coefficients = (
        torch.take_along_dim(part, index[:, None], 2)[:, :, 0] for part in parts
    )
    scales = torch.exp(log_scales.clamp_min(LOG_SCALE_MIN))
    deviations = scales * (torch.log(u) - torch.log1p(-u))[:, 1:]
    x = torch.zeros_like(means)
    for c in range(channels):
        y = conditional_means(means, _values(x), *coefficients) + deviations
        x[:, c] = torch.round(torch.clip(127.5 * (y[:, c] + 1), 0, LEVELS - 1)) / (LEVELS - 1)
    return x.to(params.dtype)


def _values(x: Tensor) -> Tensor:
    """y = 2 k / 255 - 1 for the level k of x. Any shape."""
    return torch.round((LEVELS - 1) * x) / 127.5 - 1


def _mean_of_levels(mean: Tensor, log_scale: Tensor) -> Tensor:
    """E[y] = -1 + 2/255 sum_{j=1}^{255} P(k >= j) of one discretised logistic. Any shape."""
    width = torch.exp(LOG_WIDTH - log_scale.clamp_min(LOG_SCALE_MIN))
    position = 127.5 * (mean + 1)
    total = torch.zeros_like(mean)
    for j in range(1, LEVELS):
        total += torch.sigmoid((position - (j - 0.5)) * width)
    return total / 127.5 - 1
