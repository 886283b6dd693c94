"""The discretised mixture of logistics from scipy.stats.logistic alone: a witness of both panels.

Shapes: params (N, P, ...), x (N, C, ...) with values k / 255; `...` are the axes of the pixels.
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats

LOG_SCALE_MIN = -7.0
LOW_EDGES = (2 * np.arange(1, 256) - 1) / 255 - 1
"""The lower edges of the levels 1 to 255."""


def probability(params: np.ndarray, x: np.ndarray) -> np.ndarray:
    """p of each pixel with all of its channels.   -> (N, ...)"""
    pi, channels = _parts(params, x.shape[1])
    y, p = 2 * x - 1, pi
    for c in range(x.shape[1]):
        logistic = _logistic(channels, y[:, :, None], c)
        low = np.where(x[:, c] == 0, -np.inf, y[:, c] - 1 / 255)[:, None]
        high = np.where(x[:, c] == 1, np.inf, y[:, c] + 1 / 255)[:, None]
        p = p * (logistic.cdf(high) - logistic.cdf(low))
    return p.sum(1)


def mean(params: np.ndarray, C: int) -> np.ndarray:
    """The mean of each channel at the means of the channels before.   -> (N, C, ...)"""
    pi, channels = _parts(params, C)
    y = np.zeros((len(params), C, *pi.shape[1:]))
    for c in range(C):
        logistic = _logistic(channels, y, c)
        y[:, c] = 2 * sum(logistic.sf(edge) for edge in LOW_EDGES) / 255 - 1
    return ((y + 1) / 2 * pi[:, None]).sum(2)


def draw(params: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The quantiles u (N, 1 + C, ...) of the component and of each channel.   -> (N, C, ...)"""
    C, u = u.shape[1] - 1, u + 2.0**-25
    pi, channels = _parts(params, C)
    chosen = (np.cumsum(pi, 1) < u[:, :1]).sum(1, keepdims=True)
    y = np.zeros((len(params), C, 1, *pi.shape[2:]))
    for c in range(C):
        quantiles = _logistic(channels, y, c).ppf(u[:, c + 1][:, None])
        picked = np.take_along_axis(quantiles, chosen, 1)
        y[:, c] = 2 * np.round(255 * (np.clip(picked, -1, 1) + 1) / 2) / 255 - 1
    return (y[:, :, 0] + 1) / 2


def _parts(params: np.ndarray, C: int) -> tuple[np.ndarray, np.ndarray]:
    """pi (N, M, ...), and the outputs of each channel (N, C, 2 or 3, M, ...)."""
    kinds = 3 if C == 3 else 2
    M = params.shape[1] // (1 + C * kinds)
    rest = params[:, M:].reshape(len(params), C, kinds, M, *params.shape[2:])
    return special.softmax(params[:, :M], 1), rest


def _logistic(channels: np.ndarray, y: np.ndarray, c: int) -> stats.rv_frozen:
    """The logistic distributions of channel c at the values y of the channels before."""
    centre, log_scale = channels[:, c, 0], channels[:, c, 1]
    if c > 0:
        alpha, beta, gamma = (np.tanh(channels[:, i, 2]) for i in range(3))
        centre = centre + (alpha * y[:, 0] if c == 1 else beta * y[:, 0] + gamma * y[:, 1])
    return stats.logistic(centre, np.exp(np.maximum(log_scale, LOG_SCALE_MIN)))
