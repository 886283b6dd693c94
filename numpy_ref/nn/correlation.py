"""Correlation of images with a kernel, and its derivatives: the arithmetic of both convolutions.

    y[n, o, h, v] = sum_cij  w[o, c, i, j]  x[n, c, s h + i - p, s v + j - p]                    (1)

with stride s, padding p, and x = 0 outside the image. This and its gradients are computed as matrix
products, for a block of images at a time. Row (i, j, c) of the matrix `columns` has the pixels of
channel c that tap (i, j) of the kernel reads:

    columns[(i, j, c), (n, h, v)] = x[n, c, s h + i - p, s v + j - p]

Derivation of dx and dw, and of the transposed convolution. Write down how a loss with gradient dy
changes with y, which is linear in x and in w:

    <dy, y> = sum_nohv  dy[n, o, h, v]  sum_cij  w[o, c, i, j]  x[n, c, s h + i - p, s v + j - p]

The gradient of one pixel x[n, c, a, b] is the sum of all its factors:

    dx[n, c, a, b] = sum_{o, h, v, i, j}  w[o, c, i, j]  dy[n, o, h, v]
                     over all terms with s h + i - p = a and s v + j - p = b                     (2)

Read from the side of dy: each dy[n, o, h, v] adds the kernel, times itself, to the window of x that
y[n, o, h, v] was computed from. This adjoint of (1) is the transposed convolution. At stride 1 the
condition has one solution h = a - i + p for each i, and with i = kH - 1 - i', j = kW - 1 - j'

    dx[n, c, a, b] = sum_oi'j'  w[o, c, kH-1-i', kW-1-j']  dy[n, o, a + i' - (kH-1-p), ...]      (3)

is itself a correlation (1): of dy with the kernel flipped, its two channel axes exchanged, and
padding kH - 1 - p. The gradient of one weight w[o, c, i, j] is the sum of its factors:

    dw[o, c, i, j] = sum_nhv  dy[n, o, h, v]  x[n, c, s h + i - p, s v + j - p]                  (4)

The adjoint of an adjoint is the map itself. So a transposed convolution x -> y by (2) has the
gradients dx by (1) and dw by (4), with x and dy exchanged.

Shapes: x (N, C, H, W), w (O, C, kH, kW), y (N, O, OH, OW): N images, C channels of H x W pixels
before and O channels of OH x OW pixels after, kH x kW taps. Stride, padding and sizes are pairs.
Source: Chellapilla, Puri & Simard (2006), who unroll the whole batch; a block of images stays in
the cache. The names are those of torch.nn.grad. The right panel has no such
file: its convolutions are torch's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from numpy_ref.nn.module import Array

Pair = tuple[int, int]
BLOCK = 2**20
"""Bytes of `columns` at a time. All columns together are kH kW / s^2 times as large as x."""


def output_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """(OH, OW), with OH = floor((H + 2 p - kH) / s) + 1.

    >>> output_size((28, 28), (4, 4), (2, 2), (1, 1))
    (14, 14)
    """
    axes = zip(size, kernel, stride, padding, strict=True)
    h, w = ((n + 2 * p - k) // s + 1 for n, k, s, p in axes)
    return h, w


def correlate(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """y by equation (1).

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> correlate(x, np.ones((1, 1, 2, 2)), (1, 1), (0, 0))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    OH, OW = output_size(_size(x), _size(w), stride, padding)
    y = np.empty((len(x), len(w), OH, OW), x.dtype)
    taps = _taps(w)
    for block, columns in _columns(x, w.shape, stride, padding):
        y[block] = (taps @ columns).reshape(len(w), -1, OH, OW).swapaxes(0, 1)
    return y


def conv2d_weight(x: Array, kernel: Pair, dy: Array, stride: Pair, padding: Pair) -> Array:
    """dw by equation (4).

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d_weight(x, (2, 2), np.ones((1, 1, 2, 2)), (1, 1), (0, 0))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    out, C = dy.shape[1], x.shape[1]
    dtaps = np.zeros((kernel[0] * kernel[1] * C, out), x.dtype)
    for block, columns in _columns(x, (out, C, *kernel), stride, padding):
        dtaps += columns @ _rows(dy[block]).T
    return _from_taps(dtaps, kernel)


def conv2d_and_weight(
    x: Array, w: Array, dy: Array, stride: Pair, padding: Pair
) -> tuple[Array, Array]:
    """`correlate(x, w)` and `conv2d_weight(x, dy)`, which share the columns of x.

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> y, dw = conv2d_and_weight(
    ...     x, np.ones((1, 1, 2, 2)), 2 * np.ones((1, 1, 2, 2)), (1, 1), (0, 0)
    ... )
    >>> bool((dw == 2 * y).all())
    True
    """
    OH, OW = output_size(_size(x), _size(w), stride, padding)
    y = np.empty((len(x), len(w), OH, OW), x.dtype)
    taps = _taps(w)
    dtaps = np.zeros(taps.T.shape, x.dtype)
    for block, columns in _columns(x, w.shape, stride, padding):
        y[block] = (taps @ columns).reshape(len(w), -1, OH, OW).swapaxes(0, 1)
        dtaps += columns @ _rows(dy[block]).T
    return y, _from_taps(dtaps, _size(w))


def conv2d_input(size: Pair, w: Array, dy: Array, stride: Pair, padding: Pair) -> Array:
    """dx by equation (2), or by (3) where that is faster.

    `size` is (H, W) of x, since images of several sizes have a y of the same size.

    >>> conv2d_input((3, 3), np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), (1, 1), (0, 0))
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """
    (N, _, OH, OW), (_, C, kH, kW) = dy.shape, w.shape
    if _is_faster_flipped(w, stride, padding):
        return correlate(dy, flip(w), stride, _flipped_padding(w, padding))

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


def conv2d_gradients(
    x: Array, w: Array, dy: Array, stride: Pair, padding: Pair, *, input_grad: bool = True
) -> tuple[Array | None, Array]:
    """(dx, dw) by (2) and (4), or with one set of columns where dx is computed by (3).

    In (4), too, dy and x may change roles. At stride 1,
    dw[o, c, i, j] = sum_nab  dy[n, o, a - i + p, b - j + p]  x[n, c, a, b], which is the flipped
    weight gradient of the correlation (3). Without `input_grad`, dx is None.

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> dx, dw = conv2d_gradients(
    ...     x, np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), (1, 1), (0, 0)
    ... )
    >>> dw
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    if not input_grad:
        return None, conv2d_weight(x, _size(w), dy, stride, padding)
    if _is_faster_flipped(w, stride, padding):
        dx, dflipped = conv2d_and_weight(dy, flip(w), x, stride, _flipped_padding(w, padding))
        return dx, flip(dflipped)
    dx = conv2d_input(_size(x), w, dy, stride, padding)
    return dx, conv2d_weight(x, _size(w), dy, stride, padding)


def flip(w: Array) -> Array:
    """w[o, c, i, j] -> w'[c, o, kH - 1 - i, kW - 1 - j]. Its own inverse.

    >>> flip(np.arange(4.0).reshape(1, 1, 2, 2))
    array([[[[3., 2.],
             [1., 0.]]]])
    """
    return w[:, :, ::-1, ::-1].swapaxes(0, 1)


def _flipped_padding(w: Array, padding: Pair) -> Pair:
    return w.shape[2] - 1 - padding[0], w.shape[3] - 1 - padding[1]


def _is_faster_flipped(w: Array, stride: Pair, padding: Pair) -> bool:
    """True if equation (3) applies and is faster than (2).

    It reads the O channels of dy once a tap, where (2) adds to the C channels of dx once a tap,
    which takes longer unless C is far smaller than O.
    """
    return stride == (1, 1) and min(_flipped_padding(w, padding)) >= 0 and len(w) <= 2 * w.shape[1]


def _columns(
    x: Array, weight: tuple[int, ...], stride: Pair, padding: Pair
) -> Iterator[tuple[slice, Array]]:
    """(block, columns) for blocks of g images; columns (kH kW C, g OH OW)."""
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
    """Each tap (i, j), and the rows and columns of the padded image that it reads."""
    (kH, kW), (sH, sW), (OH, OW) = kernel, stride, size
    for i in range(kH):
        for j in range(kW):
            yield i, j, slice(i, i + sH * OH, sH), slice(j, j + sW * OW, sW)


def _blocks(images: int, image_bytes: int, weight_bytes: int) -> Iterator[slice]:
    """Slices of the batch whose columns fill BLOCK bytes, or as many as the weight has: the weight
    is read once a block, and should not take longer to read than the columns."""
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
