"""The discretised mixture of logistics on either panel, and random parameters and images for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from model_specs.common.levels import mixture_outputs
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
