"""Batch normalisation, NCHW.   Right panel: torch.nn.BatchNorm2d"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int, check_real
from numpy_ref.nn import checks
from numpy_ref.nn.module import Array, Buffer, Module, Parameter, Vjp, as_dtype

AXES = (0, 2, 3)
"""What is averaged over: all but the channels."""


class BatchNorm2d(Module):
    """y = w (x - mu) / sqrt(var + eps) + b,   for each channel.

    In training mu and var are the batch's own, over its m = N H W values of the channel, var
    biased (sum / m), and

        running_mean <- (1 - momentum) running_mean + momentum mu
        running_var  <- (1 - momentum) running_var  + momentum var m / (m - 1)

    so that the running variance is the unbiased one. In evaluation mu and var are these two.

    Shapes: x (N, C, H, W) -> y (N, C, H, W); weight, bias, running_mean, running_var (C).
    Raises: ValueError for an x of wrong shape or dtype, or of one value a channel in training.
    Source: Ioffe & Szegedy (2015), arXiv 1502.03167, algorithm 1; torch.nn.BatchNorm2d, which
    keeps a count of the batches too. Where we differ from it: momentum is a number, never None.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        dtype: DTypeLike = np.float64,
    ) -> None:
        check_positive_int("num_features", num_features)
        check_real("eps", eps, above=0, inclusive=True)
        check_real("momentum", momentum, above=0, inclusive=True)
        if momentum > 1:
            raise ValueError(f"momentum: got {momentum!r}, takes a number in [0, 1]")
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, as_dtype(dtype)))
        self.bias = Parameter(np.zeros(num_features, as_dtype(dtype)))
        self.running_mean = Buffer(np.zeros(num_features, as_dtype(dtype)))
        self.running_var = Buffer(np.ones(num_features, as_dtype(dtype)))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        checks.check_images("x", x, len(self.weight.data), self.weight.data.dtype)
        return self._by_batch(x) if self.training else self._by_average(x)

    def _by_batch(self, x: Array) -> tuple[Array, Vjp]:
        m = x.size // x.shape[1]
        if m == 1:
            raise ValueError(
                f"x: got shape {x.shape}, takes more than one value per channel in training"
            )
        mu = x.mean(AXES)
        n = x - _wide(mu)
        var = _products(n, n) / m
        std = np.sqrt(var + self.eps)
        n /= _wide(std)
        w = self.weight.data
        y = n * _wide(w)
        y += _wide(self.bias.data)
        self._track(mu, var * (m / (m - 1)))

        def vjp(dy: Array) -> Array:
            db = dy.sum(AXES)
            dw = _products(dy, n)
            self.bias.grad += db
            self.weight.grad += dw
            # w / std (dy - mean(dy) - n mean(dy n)): x moves mu and var as well, and so what of dy
            # is along 1 and along n cancels
            dx = n * _wide(-dw / m)
            dx += dy
            dx -= _wide(db / m)
            dx *= _wide(w / std)
            return dx

        return y, vjp

    def _by_average(self, x: Array) -> tuple[Array, Vjp]:
        std = np.sqrt(self.running_var.data + self.eps)
        n = x - _wide(self.running_mean.data)
        n /= _wide(std)
        w = self.weight.data
        y = n * _wide(w)
        y += _wide(self.bias.data)

        def vjp(dy: Array) -> Array:
            self.bias.grad += dy.sum(AXES)
            self.weight.grad += _products(dy, n)
            return dy * _wide(w / std)

        return y, vjp

    def _track(self, mu: Array, var: Array) -> None:
        for average, now in ((self.running_mean, mu), (self.running_var, var)):
            average.data *= 1 - self.momentum
            average.data += self.momentum * now
        self.num_batches_tracked.data += 1


def _products(a: Array, b: Array) -> Array:
    """(a b).sum(AXES), without the array of all products."""
    return np.einsum("nchw,nchw->c", a, b)


def _wide(values: Array) -> Array:
    """(C) -> (C, 1, 1)"""
    return values[:, None, None]
