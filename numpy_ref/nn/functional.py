"""Pure functions. Each returns `(y, vjp)`; the derivative stands under the line it differentiates.

Right panel: torch.nn.functional, or a function of the same name.
"""

from __future__ import annotations

import numpy as np

from numpy_ref.nn.module import Array, Vjp


def relu(x: Array) -> tuple[Array, Vjp]:
    """y = max(x, 0). Any shape. The derivative at 0 is taken as 0, as torch takes it."""
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (x > 0)


def elu(x: Array) -> tuple[Array, Vjp]:
    """y = x where x > 0, else e^x - 1. Any shape.

    Source: Clevert, Unterthiner & Hochreiter (2015), arXiv 1511.07289, with alpha = 1.
    """
    y = np.expm1(np.minimum(x, 0))
    np.maximum(y, x, out=y)  # e^x - 1 is never below x
    return y, lambda dy: dy * (np.minimum(y, 0) + 1)


def tanh(x: Array) -> tuple[Array, Vjp]:
    """y = tanh(x). Any shape."""
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x). Any shape; no overflow, for the exponent is never positive. Value only."""
    e = np.exp(-np.abs(x))
    return np.maximum(e, x >= 0) / (1 + e)  # (1 or e) / (1 + e), without a branch


def softmax(x: Array, axis: int = -1) -> tuple[Array, Vjp]:
    """p_i = e^(x_i - m) / sum_j e^(x_j - m), m = max x, along `axis`: any m gives the same p.

    With this one no exponent is positive, so nothing overflows, and one is 0, so no sum is 0.
    An x of -inf has p = 0. Where all are -inf, or any is inf, every p is NaN, as in torch.
    """
    with np.errstate(invalid="ignore"):  # inf - inf
        e = np.exp(x - x.max(axis, keepdims=True))
    p = e / e.sum(axis, keepdims=True)
    return p, lambda dp: p * (dp - (p * dp).sum(axis, keepdims=True))


def log_softmax(x: Array, axis: int = -1) -> tuple[Array, Vjp]:
    """log p_i = (x_i - m) - log sum_j e^(x_j - m), m = max x, along `axis`. Nats.

    Finite where p_i underflows, which the logarithm of `softmax` is not.
    An x of -inf has log p = -inf. Where all are -inf, or any is inf, every log p is NaN.
    """
    with np.errstate(invalid="ignore"):  # inf - inf
        shifted = x - x.max(axis, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    return log_p, lambda dlog_p: dlog_p - np.exp(log_p) * dlog_p.sum(axis, keepdims=True)


def logsumexp(x: Array, axis: int = -1) -> tuple[Array, Vjp]:
    """log sum_i e^x_i = m + log sum_i e^(x_i - m), m = max x, along `axis`, which goes. Nats.

    The derivative is softmax(x). An x of -inf adds nothing; all of them give -inf, one of inf
    gives inf, and there the derivative is NaN, as in torch.
    """
    m = x.max(axis, keepdims=True)
    m[~np.isfinite(m)] = 0  # for inf - inf is NaN
    with np.errstate(over="ignore", divide="ignore"):
        e = np.exp(x - m)
        total = e.sum(axis, keepdims=True)
        y = (m + np.log(total)).squeeze(axis)

    def vjp(dy: Array) -> Array:
        with np.errstate(invalid="ignore"):  # 0 / 0
            return np.expand_dims(dy, axis) * (e / total)

    return y, vjp
