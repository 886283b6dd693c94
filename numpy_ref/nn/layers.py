"""Layers: pure functions with their parameters.   Right panel: torch_impl/nn/layers.py

Shapes: I inputs, O outputs, V words, D dimensions; N images of C channels, H x W pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int, check_real
from model_specs.common.key import Key
from numpy_ref.nn import checks, functional
from numpy_ref.nn.init import fan_in_uniform
from numpy_ref.nn.module import Array, Buffer, Module, Parameter, Vjp, as_dtype


class Linear(Module):
    """y = x Wᵀ + b.

    Shapes: x (..., I), weight (O, I), bias (O) -> y (..., O).
    `input_grad=False` is for a first layer, whose input is data: the vjp returns None for dx.
    Source: torch.nn.Linear with its initialisation, drawn from `key`.

    >>> layer = Linear(2, 3)
    >>> y, vjp = layer(np.ones((5, 2)))
    >>> dx = vjp(np.ones((5, 3)))  # adds to the gradients of weight and bias
    >>> y.shape, dx.shape, layer.bias.grad
    ((5, 3), (5, 2), array([5., 5., 5.]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: DTypeLike = np.float64,
        *,
        input_grad: bool = True,
    ) -> None:
        self.weight = Parameter(np.empty((out_features, in_features), as_dtype(dtype)))
        self.bias = Parameter(np.empty(out_features, as_dtype(dtype)))
        self._input_grad = input_grad
        fan_in_uniform(self, key)

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        y, y_vjp = functional.linear(
            x, self.weight.data, self.bias.data, input_grad=self._input_grad
        )

        def vjp(dy: Array) -> Array | None:
            dx, dW, db = y_vjp(dy)
            self.weight.grad += dW
            self.bias.grad += db
            return dx

        return y, vjp


class Embedding(Module):
    """y = E[ids].

    The ids have no gradient. The weights are uninitialised; a model's `init` draws them.
    Shapes: ids (...) int64 in [0, V), weight (V, D) -> y (..., D).
    Source: torch.nn.Embedding.
    """

    def __init__(self, vocab_size: int, dim: int, dtype: DTypeLike = np.float64) -> None:
        self.weight = Parameter(np.empty((vocab_size, dim), as_dtype(dtype)))

    def forward(self, ids: Array) -> tuple[Array, Vjp]:
        y, _ = functional.embedding(ids, self.weight.data)

        def vjp(dy: Array) -> None:  # the function's vjp would make an array of all V rows
            functional.add_rows(self.weight.grad, ids.reshape(-1), dy.reshape(ids.size, -1))

        return y, vjp


def batch_norm(
    x: Array, w: Array, b: Array, eps: float, statistics: tuple[Array, Array] | None = None
) -> tuple[tuple[Array, Array, Array], Vjp]:
    """y = w n + b,   n = (x - mu) / s,   s = sqrt(var + eps),   for each channel.

        mu = 1/m sum x,   var = 1/m sum (x - mu)^2       over the m = N H W values of the channel

    or the constants `statistics` = (mu, var), as in evaluation.

    Shapes: x (N, C, H, W); w, b, mu, var (C) -> y (N, C, H, W), and mu and var, values only. The
    vjp takes dy and returns (dx, dw, db).

    Derivation of dx for one channel. By y = w n + b, db = sum dy, dw = sum dy n and dn = w dy.
    x_i moves n in three ways: directly, by mu, and by s.

        dn_j / dx_i = [i = j] / s - 1/s dmu/dx_i - (x_j - mu) / s^2 ds/dx_i

    with dmu/dx_i = 1 / m. And ds/dx_i = n_i / m, because s^2 = var + eps gives
    2 s ds/dx_i = dvar/dx_i = 2 (x_i - mu) / m = 2 s n_i / m; here mu may be held fixed, since
    sum (x - mu) = 0. Hence

        dn_j / dx_i = ([i = j] - 1 / m - n_j n_i / m) / s
        dx_i = sum_j dn_j (dn_j / dx_i) = w / s (dy_i - mean(dy) - n_i mean(dy n))
             = w / s (dy_i - db / m - n_i dw / m).

    The two subtracted terms are the parts of dy along the vectors 1 and n: y does not change if the
    batch is shifted or (but for eps) scaled. With constant statistics they are absent.
    Source: Ioffe & Szegedy (2015), arXiv 1502.03167, section 3.

    >>> x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    >>> (y, mu, var), vjp = batch_norm(x, np.array([2.0]), np.array([5.0]), eps=0.0)
    >>> y.ravel(), mu, var
    (array([3., 7.]), array([2.]), array([1.]))
    >>> dx, dw, db = vjp(np.array([1.0, 0.0]).reshape(2, 1, 1, 1))
    >>> dx.ravel(), dw, db  # two values always become -1 and 1, so that dx is 0
    (array([0., 0.]), array([-1.]), array([1.]))
    """
    m = x.size // x.shape[1]
    mu = x.mean(AXES) if statistics is None else statistics[0]
    d = x - _per_channel(mu)  # n is d / s, one pass over the images less
    var = _product_sums(d, d) / m if statistics is None else statistics[1]
    s = np.sqrt(var + eps)
    y = d * _per_channel(w / s)
    y += _per_channel(b)

    def vjp(dy: Array) -> tuple[Array, Array, Array]:
        db = dy.sum(AXES)
        dw = _product_sums(dy, d) / s
        if statistics is not None:
            return dy * _per_channel(w / s), dw, db
        dx = d * _per_channel(-dw / (m * s))
        dx += dy
        dx -= _per_channel(db / m)
        dx *= _per_channel(w / s)
        return dx, dw, db

    return (y, mu, var), vjp


AXES = (0, 2, 3)
"""The axes of a batch statistic: all but the channels."""


def _product_sums(a: Array, b: Array) -> Array:
    """(a b).sum(AXES), without an array of all products."""
    return np.einsum("nchw,nchw->c", a, b)


def _per_channel(values: Array) -> Array:
    """(C) -> (C, 1, 1)"""
    return values[:, None, None]


class BatchNorm2d(Module):
    """`batch_norm` with a weight, a bias and running statistics.

    In training mode mu and var are those of the batch, and the running averages move towards them:

        running_mean <- (1 - momentum) running_mean + momentum mu
        running_var  <- (1 - momentum) running_var  + momentum var m / (m - 1)

    m / (m - 1) makes the variance the unbiased one. In evaluation mode mu and var are the running
    averages.

    Shapes: x (N, C, H, W) -> y (N, C, H, W); weight, bias, running_mean, running_var (C).
    Raises: ValueError for an x of wrong shape or dtype, or with one value a channel in training.
    Source: Ioffe & Szegedy (2015), arXiv 1502.03167, algorithm 1; torch.nn.BatchNorm2d, with its
    count of batches. Where we differ from torch: momentum is a number, never None.
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
        w, b = self.weight.data, self.bias.data
        checks.check_images("x", x, len(w), w.dtype)
        m = x.size // x.shape[1]
        if self.training and m == 1:
            raise ValueError(
                f"x: got shape {x.shape}, takes more than one value per channel in training"
            )
        statistics = None if self.training else (self.running_mean.data, self.running_var.data)
        (y, mu, var), y_vjp = batch_norm(x, w, b, self.eps, statistics)
        if self.training:
            self._track(mu, var * (m / (m - 1)))

        def vjp(dy: Array) -> Array:
            dx, dw, db = y_vjp(dy)
            self.weight.grad += dw
            self.bias.grad += db
            return dx

        return y, vjp

    def _track(self, mu: Array, var: Array) -> None:
        for average, value in ((self.running_mean, mu), (self.running_var, var)):
            average.data *= 1 - self.momentum
            average.data += self.momentum * value
        self.num_batches_tracked.data += 1
