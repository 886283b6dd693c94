"""Correlation of images with a kernel, and its two derivatives: what both convolutions are made of.

    y[n, o, h, v] = sum_cij  w[o, c, i, j]  x[n, c, s h + i - p, s v + j - p]

It is linear in x and in w, so that its derivatives are the other two ways to sum this product:
over o, i, j for x, over n, h, v for w. Each is one matrix product over a block of images, with what
the taps (i, j) of the kernel read of them side by side:

    columns[(i, j, c), (n, h, v)] = x[n, c, s h + i - p, s v + j - p]

Shapes: x (N, C, H, W), w (O, C, kH, kW), y (N, O, OH, OW), 0 outside x. `stride` s and `padding` p
are pairs, as are all sizes.
Source: Chellapilla, Puri & Simard (2006), who unroll the whole batch; a block at a time stays in
the cache and in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from numpy_ref.nn.module import Array

Pair = tuple[int, int]
BLOCK = 2**20
"""Bytes of columns at a time: they are kH kW / s^2 times the images."""


def output_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """floor((H + 2 p - kH) / s) + 1, and so for the width."""
    axes = zip(size, kernel, stride, padding, strict=True)
    h, w = ((n + 2 * p - k) // s + 1 for n, k, s, p in axes)
    return h, w


def correlate(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """y of the equation above."""
    OH, OW = output_size(_size(x), _size(w), stride, padding)
    y = np.empty((len(x), len(w), OH, OW), x.dtype)
    taps = _taps(w)
    for block, columns in _columns(x, w.shape, stride, padding):
        y[block] = (taps @ columns).reshape(len(w), -1, OH, OW).swapaxes(0, 1)
    return y


def correlate_weight(x: Array, dy: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """dw[o, c, i, j] = sum_nhv  dy[n, o, h, v]  x[n, c, s h + i - p, s v + j - p]"""
    out, C = dy.shape[1], x.shape[1]
    dtaps = np.zeros((kernel[0] * kernel[1] * C, out), x.dtype)
    for block, columns in _columns(x, (out, C, *kernel), stride, padding):
        dtaps += columns @ _rows(dy[block]).T
    return _from_taps(dtaps, kernel)


def correlate_both(
    x: Array, w: Array, dy: Array, stride: Pair, padding: Pair
) -> tuple[Array, Array]:
    """`correlate(x, w)` and `correlate_weight(x, dy)`, which read the same columns."""
    OH, OW = output_size(_size(x), _size(w), stride, padding)
    y = np.empty((len(x), len(w), OH, OW), x.dtype)
    taps = _taps(w)
    dtaps = np.zeros(taps.T.shape, x.dtype)
    for block, columns in _columns(x, w.shape, stride, padding):
        y[block] = (taps @ columns).reshape(len(w), -1, OH, OW).swapaxes(0, 1)
        dtaps += columns @ _rows(dy[block]).T
    return y, _from_taps(dtaps, _size(w))


def correlate_adjoint(dy: Array, w: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """dx[n, c, s h + i - p, s v + j - p] += w[o, c, i, j] dy[n, o, h, v]   for all o, h, v, i, j

    `size` is (H, W) of x, for several sizes have the same y.
    """
    (N, _, OH, OW), (_, C, kH, kW) = dy.shape, w.shape
    if _turns(w, stride, padding):
        return correlate(dy, _turned(w), stride, _turned_padding(w, padding))

    (H, W), (pH, pW) = size, padding
    dx = np.empty((N, C, H, W), dy.dtype)
    taps = _taps(w).T
    for block in _blocks(N, kH * kW * C * OH * OW * dy.itemsize, w.nbytes):
        dcolumns = (taps @ _rows(dy[block])).reshape(kH, kW, C, -1, OH, OW)
        padded = np.zeros((dcolumns.shape[3], C, H + 2 * pH, W + 2 * pW), dy.dtype)
        for i, j, rows, columns in _views((kH, kW), stride, (OH, OW)):
            padded[:, :, rows, columns] += dcolumns[i, j].swapaxes(0, 1)
        dx[block] = padded[:, :, pH : pH + H, pW : pW + W]
    return dx


def correlate_gradients(
    x: Array, dy: Array, w: Array, stride: Pair, padding: Pair, *, input_grad: bool = True
) -> tuple[Array | None, Array]:
    """(dx, dw): `correlate_adjoint` and `correlate_weight`, from the same columns where possible.

        dw[o, c, i, j] = sum_nhv  dy[n, o, h - i + p, v - j + p]  x[n, c, h, v]

    Without `input_grad` dx is None.
    """
    if not input_grad:
        return None, correlate_weight(x, dy, _size(w), stride, padding)
    if _turns(w, stride, padding):
        dx, dw = correlate_both(dy, _turned(w), x, stride, _turned_padding(w, padding))
        return dx, _turned(dw)
    dx = correlate_adjoint(dy, w, _size(x), stride, padding)
    return dx, correlate_weight(x, dy, _size(w), stride, padding)


def _turns(w: Array, stride: Pair, padding: Pair) -> bool:
    """Whether dx is dy correlated with the kernel turned about, and soonest found so.

    To gather the O channels of dy for each tap takes less than to add up the C of dx, unless they
    are far fewer.
    """
    return stride == (1, 1) and min(_turned_padding(w, padding)) >= 0 and len(w) <= 2 * w.shape[1]


def _turned(w: Array) -> Array:
    """w[o, c, i, j] -> w'[c, o, kH - 1 - i, kW - 1 - j]; and back."""
    return w[:, :, ::-1, ::-1].swapaxes(0, 1)


def _turned_padding(w: Array, padding: Pair) -> Pair:
    return w.shape[2] - 1 - padding[0], w.shape[3] - 1 - padding[1]


def _columns(
    x: Array, weight: tuple[int, ...], stride: Pair, padding: Pair
) -> Iterator[tuple[slice, Array]]:
    """Blocks of images, and what each tap reads of them.   -> (kH kW C, g OH OW)"""
    (N, C, H, W), (out, _, kH, kW), (pH, pW) = x.shape, weight, padding
    OH, OW = output_size((H, W), (kH, kW), stride, padding)
    K = kH * kW * C
    for block in _blocks(N, K * OH * OW * x.itemsize, out * K * x.itemsize):
        images = x[block]
        if pH or pW:
            images = np.zeros((len(images), C, H + 2 * pH, W + 2 * pW), x.dtype)
            images[:, :, pH : pH + H, pW : pW + W] = x[block]
        result = np.empty((kH, kW, C, len(images), OH, OW), x.dtype)
        for i, j, rows, columns in _views((kH, kW), stride, (OH, OW)):
            result[i, j] = images[:, :, rows, columns].swapaxes(0, 1)
        yield block, result.reshape(K, -1)


def _views(kernel: Pair, stride: Pair, size: Pair) -> Iterator[tuple[int, int, slice, slice]]:
    """(i, j) and the rows and columns of the padded image that this tap reads."""
    (kH, kW), (sH, sW), (OH, OW) = kernel, stride, size
    for i in range(kH):
        for j in range(kW):
            yield i, j, slice(i, i + sH * OH, sH), slice(j, j + sW * OW, sW)


def _blocks(images: int, image_bytes: int, weight_bytes: int) -> Iterator[slice]:
    """Slices of the batch, of as many images as BLOCK holds; never of fewer bytes than the weight,
    which is read anew for each."""
    count = max(1, max(BLOCK, weight_bytes) // image_bytes)
    return (slice(start, min(start + count, images)) for start in range(0, images, count))


def _taps(w: Array) -> Array:
    """(O, C, kH, kW) -> (O, kH kW C)"""
    return w.transpose(0, 2, 3, 1).reshape(len(w), -1)


def _from_taps(taps: Array, kernel: Pair) -> Array:
    """(kH kW C, O) -> (O, C, kH, kW)"""
    return taps.reshape(*kernel, -1, taps.shape[1]).transpose(3, 2, 0, 1)


def _rows(y: Array) -> Array:
    """(g, O, OH, OW) -> (O, g OH OW)"""
    return y.swapaxes(0, 1).reshape(y.shape[1], -1)


def _size(images: Array) -> Pair:
    return images.shape[2], images.shape[3]
