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
Right panel: torch_impl/probability/discretized_logistics.py
"""

from __future__ import annotations

import math

import numpy as np

from model_specs.common.levels import (
    LEVELS,
    LOG_SCALE_MIN,
    image_channels,
    kinds,
    mixture_components,
)
from numpy_ref.nn.functional import logsumexp, sigmoid, softmax
from numpy_ref.nn.module import Array, Vjp

LOG_WIDTH = math.log(2 / (LEVELS - 1))
"""The logarithm of the width of a level on [-1, 1]."""
FAR = 1e4
"""Stands for an infinite edge in units of the scale: e^-FAR is 0, and FAR e^-FAR too."""


def logsigmoid(x: Array) -> tuple[Array, Vjp]:
    """log sigmoid(x) = min(x, 0) - log(1 + e^-|x|). Any shape.

    >>> y, vjp = logsigmoid(np.array([-1000.0, np.log(3)]))
    >>> np.exp(y).round(12), vjp(np.ones(2))
    (array([0.  , 0.75]), array([1.  , 0.25]))
    """
    e = np.exp(-np.abs(x))

    def vjp(dy: Array) -> Array:
        return dy * (np.maximum(e, x <= 0) / (1 + e))  # sigmoid(-x)

    return np.minimum(x, 0) - np.log1p(e), vjp


def discretized_logistic(mean: Array, log_scale: Array, x: Array) -> tuple[Array, Vjp]:
    """log P(k) = log(sigmoid(a) - sigmoid(b)), the logarithm of the probability of a level.

        w = 2 / (255 s),   d = k - 127.5 (m + 1),   a = (d + 1/2) w,   b = (d - 1/2) w

    w is the width of a level in units of the scale s = exp(max(log_scale, -7)), d the distance of
    the level from the mean in levels, and a and b are the edges of its interval; a is infinite at
    level 255 and b at level 0.

    Derivation. With sigmoid(t) = 1 / (1 + e^-t) the difference is a product:

        sigmoid(a) - sigmoid(b) = (e^-b - e^-a) / ((1 + e^-a) (1 + e^-b))
                                = sigmoid(a) sigmoid(-b) (1 - e^(b - a))
        log P = log sigmoid(a) + log sigmoid(-b) + log(1 - e^-w)

    No term cancels another in the far tails, where both sigmoids round to 0 or to 1. An infinite
    edge makes its sigmoid 1 and the last factor 1. log(1 - e^-w) is log w + log((1 - e^-w) / w), in
    which w may underflow.

    The gradient. d log sigmoid(t) / dt = sigmoid(-t), and d log(1 - e^-w) / dw = e^-w / (1 - e^-w).
    With da/dm = db/dm = -127.5 w, and da/dlog s = -a, db/dlog s = -b, dw/dlog s = -w,

        dlog P / dm     = 127.5 w (sigmoid(b) - sigmoid(-a))
        dlog P / dlog s = b sigmoid(b) - a sigmoid(-a) - w e^-w / (1 - e^-w)

    where sigmoid(-a) is 0 at level 255, sigmoid(b) at level 0, and the last term at both. The
    gradient of a log-scale below the floor -7 is 0.
    Any shapes that broadcast; x has the values k / 255.

    >>> x = np.arange(256.0) / 255
    >>> log_p, vjp = discretized_logistic(np.array(2.0), np.array(-1.0), x)
    >>> round(float(np.exp(log_p).sum()), 12)
    1.0
    """
    log_width = LOG_WIDTH - np.maximum(log_scale, LOG_SCALE_MIN)
    width = np.maximum(np.exp(log_width), np.finfo(log_scale.dtype).tiny)
    level = np.rint((LEVELS - 1) * x)
    upper, lower = level < LEVELS - 1, level > 0  # the interval ends on this side
    distance = level - 127.5 * (mean + 1)
    a = np.where(upper, (distance + 0.5) * width, FAR)
    b = np.where(lower, (distance - 0.5) * width, -FAR)
    share = -np.expm1(-width)  # 1 - e^-w
    log_share = np.where(upper & lower, log_width + np.log(share / width), 0)
    log_below_a, a_vjp = logsigmoid(a)
    log_above_b, b_vjp = logsigmoid(-b)

    def vjp(dlog_prob: Array) -> tuple[Array, Array]:
        da, db = a_vjp(dlog_prob), -b_vjp(dlog_prob)
        slope = np.where(upper & lower, width * (1 - share) / share, 0)
        dmean = (da + db) * (-127.5 * width)
        dlog_scale = -(a * da + b * db + dlog_prob * slope)
        return dmean, dlog_scale * (log_scale >= LOG_SCALE_MIN)

    return log_below_a + log_above_b + log_share, vjp


def conditional_means(means: Array, y: Array, *coefficients: Array) -> tuple[Array, Vjp]:
    """The means of R, of G given R, and of B given R and G, at the values y of a pixel.

        mu_R = m_R,   mu_G = m_G + alpha y_R,   mu_B = m_B + beta y_R + gamma y_G

    alpha, beta and gamma are tanh(coefficients). A grey image has none, and there mu = m.
    Shapes: means and coefficients (N, 3, ...), y (N, 3, ...) in [-1, 1] broadcast to them; without
    coefficients (N, 1, ...). The vjp returns a tuple of the gradients of means and coefficients.

    >>> y, coefficients = np.array([[0.5, -1.0, 0.0]]), np.arctanh([[0.2, 0.4, 0.8]])
    >>> mu, vjp = conditional_means(np.zeros((1, 3)), y, coefficients)
    >>> mu.round(12)
    array([[ 0. ,  0.1, -0.6]])
    """
    if not coefficients:
        return means, lambda dmu: (dmu,)
    tanh = np.tanh(coefficients[0])
    red, green = y[:, 0], y[:, 1]
    mu = np.array(means)  # in the memory order of the means
    mu[:, 1] += tanh[:, 0] * red
    mu[:, 2] += tanh[:, 1] * red
    mu[:, 2] += tanh[:, 2] * green

    def vjp(dmu: Array) -> tuple[Array, ...]:
        dcoefficients = 1 - tanh * tanh
        dcoefficients[:, 0] *= dmu[:, 1] * red
        dcoefficients[:, 1] *= dmu[:, 2] * red
        dcoefficients[:, 2] *= dmu[:, 2] * green
        return dmu, dcoefficients

    return mu, vjp


def split_params(params: Array, channels: int) -> tuple[Array, ...]:
    """The logits (N, M, ...), and (N, C, M, ...) means, log-scales and, in colour, coefficients.

    Shapes: params (N, P, ...).
    Raises: ValueError for a P that is not that of some number of components M.

    >>> split_params(np.arange(6.0)[None], 1)  # M = 2
    (array([[0., 1.]]), array([[[2., 3.]]]), array([[[4., 5.]]]))
    """
    M = mixture_components(params.shape[1], channels)
    shape = len(params), channels, kinds(channels), M, *params.shape[2:]
    return params[:, :M], *np.moveaxis(params[:, M:].reshape(shape), 2, 0)


def discretized_logistic_mixture_nll(params: Array, x: Array) -> tuple[Array, Vjp]:
    """-log p(x), summed over the pixels and the channels of each image.

        -log p = sum over pixels of log sum_i e^l_i - log sum_i e^(l_i + sum_c log P_ic)

    The derivative of a log-sum-exp is a softmax: by l_i it is pi_i - r_i and by log P_ic it is
    -r_i, with the responsibility r_i = pi_i P_i(x) / p(x) of component i for the pixel.
    x is rounded to the nearest level; the models check that it is one.
    Shapes: params (N, P, ...), x (N, C, ...) with values k / 255 -> (N).
    Raises: ValueError for other channels than 1 and 3.

    >>> x = np.arange(256.0)[:, None] / 255
    >>> params = np.repeat([[0.3, -0.3, -0.5, 0.9, -3.0, -9.0]], 256, 0)
    >>> nll, vjp = discretized_logistic_mixture_nll(params, x)
    >>> round(float(np.exp(-nll).sum()), 12)
    1.0
    """
    channels = image_channels("x", x.shape)
    logits, means, log_scales, *coefficients = split_params(params, channels)
    pixels = np.empty_like(params[:, :channels])[:, :, None]
    pixels[:, :, 0] = x  # in the memory order of params: NumPy is slow where two orders meet
    mu, mu_vjp = conditional_means(means, _values(pixels), *coefficients)
    log_probs, log_probs_vjp = discretized_logistic(mu, log_scales, pixels)
    joint, joint_vjp = logsumexp(logits + log_probs.sum(1), 1)
    normaliser, normaliser_vjp = logsumexp(logits, 1)
    nll = (normaliser - joint).reshape(len(x), -1).sum(1)

    def vjp(dnll: Array) -> Array:
        dpixels = np.broadcast_to(dnll.reshape(-1, *[1] * (joint.ndim - 1)), joint.shape)
        djoint = joint_vjp(-dpixels)
        dmu, dlog_scales = log_probs_vjp(djoint[:, None])
        dparams = np.empty_like(params)
        dlogits, *dparts = split_params(dparams, channels)  # views, written one by one
        np.add(djoint, normaliser_vjp(dpixels), out=dlogits)
        dmeans, *dcoefficients = mu_vjp(dmu)
        for view, part in zip(dparts, (dmeans, dlog_scales, *dcoefficients), strict=True):
            view[...] = part
        return dparams

    return nll, vjp


def discretized_logistic_mixture_mean(params: Array, channels: int) -> Array:
    """The mean of a pixel in [0, 1], the expectation over its 256 levels. Value only.

        E[x] = sum_i pi_i E_i[x],   E_i[x] = 1/255 sum_{j=1}^{255} P_i(k >= j)

    It is exact for grey and for R. The mean of G is computed at the mean of R, and that of B at
    those of R and G, instead of as an expectation over their 256 or 65536 values: the same, as
    long as the mass is far from both ends and a scale is not below the width of a level.
    Shapes: params (N, P, ...) -> (N, C, ...).

    >>> params = np.array([[0.0, 0.0, 2.0, 0.0, -7.0, -7.0]])
    >>> discretized_logistic_mixture_mean(params, 1)  # half of the mass is at 1, half around 1/2
    array([[0.75]])
    """
    logits, means, log_scales, *coefficients = split_params(params, channels)
    y = np.zeros_like(means)
    for c in range(channels):
        mu = conditional_means(means, y, *coefficients)[0]
        y[:, c] = _mean_of_levels(mu[:, c], log_scales[:, c])
    return (softmax(logits, 1)[0][:, None] * (y + 1) / 2).sum(2)


def discretized_logistic_mixture_sample(params: Array, u: Array) -> Array:
    """A draw from p(x) by the quantiles u of the component, and of each channel in turn.

        i: the first with pi_1 + ... + pi_i > u_0
        y_c = mu_ic + s_ic (log u_c - log(1 - u_c)),   to the nearest level, 0 and 255 at the ends

    u is in [0, 1), a multiple of 2^-24 as `random.uniform` draws it, and stands for the midpoint
    of its cell. Levels with a probability below 2^-24 are drawn too often or never. Computed in
    float64.
    Shapes: params (N, P, ...), u (N, 1 + C, ...) -> (N, C, ...), with values k / 255.
    Raises: ValueError for other channels than 1 and 3.

    >>> params = np.repeat([[0.0, 0.0, 2.0, -0.5, -7.0, -7.0]], 3, 0)
    >>> u = np.array([[0.2, 0.5], [0.7, 0.5], [0.7, 0.99]])
    >>> 255 * discretized_logistic_mixture_sample(params, u)
    array([[255.],
           [ 64.],
           [ 64.]])
    """
    channels = image_channels("u", u.shape, others=1)
    logits, *parts = split_params(params.astype(np.float64), channels)
    u = u.astype(np.float64) + 2.0**-25
    cumulative = np.cumsum(np.exp(logits - logits.max(1, keepdims=True)), 1)
    index = (cumulative <= u[:, :1] * cumulative[:, -1:]).sum(1, keepdims=True)
    means, log_scales, *coefficients = (
        np.take_along_axis(part, index[:, None], 2)[:, :, 0] for part in parts
    )
    with np.errstate(over="ignore"):  # an infinite scale gives a level at either end
        scales = np.exp(np.maximum(log_scales, LOG_SCALE_MIN))
    deviations = scales * (np.log(u) - np.log1p(-u))[:, 1:]
    x = np.zeros_like(means)
    for c in range(channels):
        y = conditional_means(means, _values(x), *coefficients)[0] + deviations
        x[:, c] = np.rint(np.clip(127.5 * (y[:, c] + 1), 0, LEVELS - 1)) / (LEVELS - 1)
    return x.astype(params.dtype)


def _values(x: Array) -> Array:
    """y = 2 k / 255 - 1 for the level k of x. Any shape."""
    return np.rint((LEVELS - 1) * x) / 127.5 - 1


def _mean_of_levels(mean: Array, log_scale: Array) -> Array:
    """E[y] = -1 + 2/255 sum_{j=1}^{255} P(k >= j) of one discretised logistic. Any shape."""
    width = np.exp(LOG_WIDTH - np.maximum(log_scale, LOG_SCALE_MIN))
    position = 127.5 * (mean + 1)
    total = np.zeros_like(mean)
    for j in range(1, LEVELS):
        total += sigmoid((position - (j - 0.5)) * width)
    return total / 127.5 - 1
