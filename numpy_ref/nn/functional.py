"""Pure functions. Each returns `(y, vjp)`, and vjp(dy) returns the gradient of each input in order.

Shapes: N rows, I inputs, O outputs, V words, D dimensions; `...` stands for any number of axes.
Source: the definitions, under the names of torch.nn.functional, unless a function names a paper.
Right panel: torch.nn.functional, or torch_impl/nn/functional.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from numpy_ref.nn.module import Array, Module, Vjp


def linear(x: Array, W: Array, b: Array, *, input_grad: bool = True) -> tuple[Array, Vjp]:
    """y = x Wᵀ + b.   x (..., I), W (O, I), b (O) -> y (..., O)

    The vjp returns (dx, dW, db); dx is None if `input_grad` is False, for an x that is data.

    >>> y, vjp = linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([5.0]))
    >>> y
    array([[16.]])
    >>> dx, dW, db = vjp(np.array([[1.0]]))
    >>> dx, dW, db
    (array([[3., 4.]]), array([[1., 2.]]), array([1.]))
    """
    rows = x.reshape(-1, x.shape[-1])  # (N, I): one matrix product for all leading axes
    y = rows @ W.T
    y += b

    def vjp(dy: Array) -> tuple[Array | None, Array, Array]:
        drows = dy.reshape(-1, dy.shape[-1])
        dx = (drows @ W).reshape(x.shape) if input_grad else None
        return dx, drows.T @ rows, drows.sum(0)

    return y.reshape(*x.shape[:-1], -1), vjp


def embedding(ids: Array, E: Array) -> tuple[Array, Vjp]:
    """y = E[ids].   ids (...) int64 in [0, V), E (V, D) -> y (..., D)

    The vjp returns dE (V, D), in which the gradients of equal ids add up.

    >>> y, vjp = embedding(np.array([2, 0, 2]), np.arange(6.0).reshape(3, 2))
    >>> y
    array([[4., 5.],
           [0., 1.],
           [4., 5.]])
    >>> vjp(np.ones((3, 2)))
    array([[1., 1.],
           [0., 0.],
           [2., 2.]])
    """
    y = E[ids]

    def vjp(dy: Array) -> Array:
        dE = np.zeros_like(E)
        add_rows(dE, ids.reshape(-1), dy.reshape(ids.size, -1))
        return dE

    return y, vjp


def add_rows(target: Array, rows: Array, values: Array) -> None:
    """target[rows[n]] += values[n] for each n, in place; the values of equal rows add up.

    The loop is faster than np.add.at and than sorting, because each row is one long sum.
    Shapes: target (V, ...), rows (N) int64, values (N, ...).

    >>> target = np.zeros(3)
    >>> add_rows(target, np.array([2, 0, 2]), np.array([1.0, 5.0, 10.0]))
    >>> target
    array([ 5.,  0., 11.])
    """
    for row, value in zip(rows.tolist(), values, strict=True):
        target[row] += value


def add_product(target: Array, a: Array, b: Array) -> None:
    """target += a @ b, a block of rows at a time, which needs no second array of the target's size.

    Shapes: target (N, O), a (N, I), b (I, O).

    >>> target = np.ones((2, 1))
    >>> add_product(target, np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [6.0]]))
    >>> target
    array([[18.],
           [40.]])
    """
    for rows in row_blocks(target, 640_000):
        target[rows] += a[rows] @ b


def row_blocks(array: Array, size: int) -> Iterator[slice]:
    """Slices of rows of an array (N, D) with at most `size` numbers each, which the cache can keep.

    >>> list(row_blocks(np.zeros((3, 10)), 20))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    step = max(1, size // array.shape[1])
    return (slice(start, start + step) for start in range(0, len(array), step))


def weight_norm(v: Array, g: Array, axis: int = 0) -> tuple[Array, Vjp]:
    """w = g v / |v|, |v| over all axes but `axis`, which counts the outputs.

    Shapes: v as the weight; g the same with size 1 on all axes but `axis` -> w as v. The vjp
    returns (dv, dg).

    Derivation of dv and dg for one output. With the unit vector u = v / |v|, w = g u is linear in
    g, hence dg = <dw, u>. Moving v by t moves its length by <u, t>, and u by

        (t - u <u, t>) / |v|:

    only the part of t that is orthogonal to v turns it. That map is its own adjoint, and therefore

        dv = g / |v| (dw - u <u, dw>) = g / |v| (dw - dg u).

    So dv is orthogonal to v. A gradient step never shortens v, and the longer v grows, the less a
    step turns it.
    Source: Salimans & Kingma (2016), arXiv 1602.07868, equations 2 and 3.

    >>> w, vjp = weight_norm(np.array([[3.0, 4.0]]), np.array([[10.0]]))
    >>> w
    array([[6., 8.]])
    >>> dv, dg = vjp(np.array([[1.0, 0.0]]))
    >>> dv, dg
    (array([[ 1.28, -0.96]]), array([[0.6]]))
    """
    axes = tuple(k for k in range(v.ndim) if k != axis)
    norm = np.sqrt((v * v).sum(axes, keepdims=True))
    u = v / norm

    def vjp(dw: Array) -> tuple[Array, Array]:
        dg = (dw * u).sum(axes, keepdims=True)
        return (dw - dg * u) * (g / norm), dg

    return g * u, vjp


def relu(x: Array) -> tuple[Array, Vjp]:
    """y = max(x, 0). Any shape. The derivative at 0 is 0, as in torch.

    >>> y, vjp = relu(np.array([-1.0, 0.0, 2.0]))
    >>> y, vjp(np.ones(3))
    (array([0., 0., 2.]), array([0., 0., 1.]))
    """
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (y > 0)  # y, not x: the next layer keeps y anyway


class ReLU(Module):
    """y = max(x, 0). Any shape."""

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        return relu(x)


def elu(x: Array) -> tuple[Array, Vjp]:
    """y = x where x > 0, else e^x - 1. Any shape.

    Source: Clevert, Unterthiner & Hochreiter (2015), arXiv 1511.07289, with alpha = 1.

    >>> y, vjp = elu(np.array([np.log(0.25), 2.0]))
    >>> y, vjp(np.ones(2))
    (array([-0.75,  2.  ]), array([0.25, 1.  ]))
    """
    y = np.minimum(x, 0)
    np.expm1(y, out=y)
    np.maximum(y, x, out=y)  # e^x - 1 is never below x

    def vjp(dy: Array) -> Array:
        dx = np.minimum(x, 0)
        np.exp(dx, out=dx)  # not y + 1, which is 0 from x = -37 on, and loses digits before
        return np.multiply(dy, dx, out=dx)

    return y, vjp


class ELU(Module):
    """y = x where x > 0, else e^x - 1. Any shape."""

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        return elu(x)


def tanh(x: Array) -> tuple[Array, Vjp]:
    """y = tanh(x). Any shape.

    >>> y, vjp = tanh(np.array([0.0, np.log(2)]))
    >>> y, vjp(np.ones(2))
    (array([0. , 0.6]), array([1.  , 0.64]))
    """
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


class Tanh(Module):
    """y = tanh(x). Any shape."""

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        return tanh(x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x). Any shape. Value only. It cannot overflow: no exponent is positive.

    A result near 0 keeps all its digits, where (1 + tanh(x / 2)) / 2 would round it to 0.

    >>> sigmoid(np.array([0.0, np.log(3), -1000.0]))
    array([0.5 , 0.75, 0.  ])
    """
    e = np.exp(-np.abs(x))
    return np.maximum(e, x >= 0) / (1 + e)  # (1 or e) / (1 + e), without a branch


def softmax(x: Array, axis: int = -1) -> tuple[Array, Vjp]:
    """p_i = e^(x_i - m) / sum_j e^(x_j - m), m = max x, along `axis`. Any shape.

    Any m gives the same p. With m = max x no exponent is positive, so that nothing overflows, and
    one exponent is 0, so that no sum is 0.
    If x_i is -inf, p_i is 0. If all x are -inf, or one is inf, every p is NaN, as in torch.

    >>> p, vjp = softmax(np.log([1.0, 3.0]))
    >>> p, vjp(np.array([1.0, 0.0]))
    (array([0.25, 0.75]), array([ 0.1875, -0.1875]))
    """
    with np.errstate(invalid="ignore"):  # inf - inf
        e = np.exp(x - x.max(axis, keepdims=True))
    p = e / e.sum(axis, keepdims=True)
    return p, lambda dp: p * (dp - (p * dp).sum(axis, keepdims=True))


def log_softmax(x: Array, axis: int = -1) -> tuple[Array, Vjp]:
    """log p_i = (x_i - m) - log sum_j e^(x_j - m), m = max x, along `axis`. Any shape. Units: nats.

    It is finite even where p_i underflows to 0.
    If x_i is -inf, so is log p_i. If all x are -inf, or one is inf, every log p is NaN.

    >>> log_p, vjp = log_softmax(np.array([0.0, -2000.0]))
    >>> log_p, vjp(np.array([1.0, 0.0]))
    (array([    0., -2000.]), array([0., 0.]))
    """
    with np.errstate(invalid="ignore"):  # inf - inf
        shifted = x - x.max(axis, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    return log_p, lambda dlog_p: dlog_p - np.exp(log_p) * dlog_p.sum(axis, keepdims=True)


def logsumexp(x: Array, axis: int = -1) -> tuple[Array, Vjp]:
    """log sum_i e^x_i = m + log sum_i e^(x_i - m), m = max x, over `axis`.

    Any shape -> the same without `axis`. Units: nats.
    The derivative is softmax(x). If x_i is -inf, its term is 0. If all x are -inf, y is -inf; if
    one is inf, y is inf; there the derivative is NaN, as in torch.

    >>> y, vjp = logsumexp(np.log([1.0, 3.0]))
    >>> round(float(np.exp(y)), 12), vjp(np.array(1.0))
    (4.0, array([0.25, 0.75]))
    """
    m = x.max(axis, keepdims=True)
    m[~np.isfinite(m)] = 0  # inf - inf is NaN
    with np.errstate(over="ignore", divide="ignore"):
        e = np.exp(x - m)
        total = e.sum(axis, keepdims=True)
        y = (m + np.log(total)).squeeze(axis)

    def vjp(dy: Array) -> Array:
        with np.errstate(invalid="ignore"):  # 0 / 0
            return np.expand_dims(dy, axis) * (e / total)

    return y, vjp


def cross_entropy(logits: Array, y: Array, out: Array | None = None) -> tuple[Array, Vjp]:
    """error = -log softmax(logits)[y] = log sum_j e^(logits_j) - logits_y.

    Shapes: logits (N, V), y (N) int64 in [0, V) -> error (N). The vjp gives dlogits (N, V).
    `out` (N, V), which may be logits, is memory for e^logits; that of the vjp is for dlogits.
    Units: nats.

    >>> error, vjp = cross_entropy(np.log([[1.0, 3.0]]), np.array([1]))
    >>> np.exp(-error), vjp(np.ones(1))
    (array([0.75]), array([[ 0.25, -0.25]]))
    """
    target = np.arange(len(y)), y
    shifted = np.subtract(logits, logits.max(1, keepdims=True), out=out)  # so no exp overflows
    shifted_y = shifted[target]
    e = np.exp(shifted, out=shifted)
    total = e.sum(1)
    error = np.log(total) - shifted_y

    def vjp(derror: Array, out: Array | None = None) -> Array:
        dlogits = np.multiply(e, (derror / total)[:, None], out=out)  # softmax(logits) derror
        dlogits[target] -= derror
        return dlogits

    return error, vjp
