"""Pure functions. Each returns `(y, vjp)`; the derivative stands under the line it differentiates.

Right panel: torch.nn.functional, or a function of the same name.
"""

from __future__ import annotations

import numpy as np

from numpy_ref.module import Array, Vjp


def relu(x: Array) -> tuple[Array, Vjp]:
    """y = max(x, 0). Any shape. The derivative at 0 is taken as 0, as torch takes it."""
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (x > 0)


def tanh(x: Array) -> tuple[Array, Vjp]:
    """y = tanh(x). Any shape."""
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


def softplus_sigmoid(x: Array) -> tuple[Array, Array]:
    """(log(1 + e^x), 1 / (1 + e^-x)), which share the one exponential e^-|x|. Any shape.

    The sigmoid is the derivative of the softplus, so this pair is its own vjp. No overflow for
    any x: the exponent is never positive.
    """
    e = np.exp(-np.abs(x))
    softplus = np.maximum(x, 0) + np.log1p(e)
    sigmoid = np.where(x >= 0, 1, e) / (1 + e)
    return softplus, sigmoid


def log_mean_exp(x: Array, axis: int) -> Array:
    """log((1/K) sum_k e^x_k) over `axis`, with the largest term taken out. Value only."""
    largest = x.max(axis=axis, keepdims=True)
    mean = np.exp(x - largest).mean(axis=axis)
    return largest.squeeze(axis) + np.log(mean)
