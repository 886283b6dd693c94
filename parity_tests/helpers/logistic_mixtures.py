"""Random parameters and images for the discretised mixture of logistics, and its plain formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import stats

from model_specs.common.levels import LOG_SCALE_MIN, mixture_outputs
from numpy_ref.probability import discretized_logistics as left
from torch_impl.probability import discretized_logistics as right

LEVELS = np.arange(256.0)
PANELS = ("left", "right")


def mixture(
    rng: np.random.Generator, channels: int, components: int, *shape: int, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (N, P, ...) and images (N, C, ...) with levels of either end; shape (N, ...)."""
    N, *pixels = shape
    params = scale * rng.normal(size=(N, mixture_outputs(channels, components), *pixels))
    level = rng.integers(0, 256, (N, channels, *pixels))
    ends = rng.random(level.shape)
    return params, np.where(ends < 0.1, 0, np.where(ends > 0.9, 255, level)) / 255


def uniforms(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Multiples of 2^-24 in [0, 1), as random.uniform draws them."""
    return rng.integers(0, 2**24, shape) * 2.0**-24


def nll(panel: str, params: np.ndarray, x: np.ndarray) -> np.ndarray:
    """discretized_logistic_mixture_nll of one panel, as an array."""
    if panel == "left":
        return left.discretized_logistic_mixture_nll(params, x)[0]
    tensors = torch.from_numpy(params), torch.from_numpy(x)
    return right.discretized_logistic_mixture_nll(*tensors).numpy()


def log_prob(panel: str, *arrays: Any) -> np.ndarray:
    """discretized_logistic of one panel, as an array."""
    arrays = tuple(map(np.asarray, arrays))
    if panel == "left":
        return left.discretized_logistic(*arrays)[0]
    return right.discretized_logistic(*map(torch.from_numpy, arrays)).numpy()


def by_scipy(params: np.ndarray, x: np.ndarray) -> float:
    """p of one pixel, params (P) and x (C), by the CDFs of scipy.stats.logistic."""
    C = len(x)
    M = len(params) // (10 if C == 3 else 3)
    pi = np.exp(params[:M]) / np.exp(params[:M]).sum()
    channels = params[M:].reshape(C, -1, M)
    y, total = 2 * x - 1, 0.0
    for i in range(M):
        mean, log_scale = channels[:, 0, i].copy(), channels[:, 1, i]
        if C == 3:
            alpha, beta, gamma = np.tanh(channels[:, 2, i])
            mean[1] += alpha * y[0]
            mean[2] += beta * y[0] + gamma * y[1]
        p = pi[i]
        for c in range(C):
            logistic = stats.logistic(mean[c], np.exp(max(log_scale[c], LOG_SCALE_MIN)))
            low = -np.inf if x[c] == 0 else y[c] - 1 / 255
            high = np.inf if x[c] == 1 else y[c] + 1 / 255
            p *= logistic.cdf(high) - logistic.cdf(low)
        total += p
    return total
