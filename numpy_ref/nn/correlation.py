"""Correlation of images with a kernel, and its derivatives: the arithmetic of both convolutions.

    y[n, o, h, v] = sum_cij  w[o, c, i, j]  x[n, c, s h + i - p, s v + j - p]                    (1)

with stride s, padding p, and x = 0 outside the image. This and its gradients are computed as matrix
products. Row (c, i, j) of the matrix `columns` has the pixels of channel c that tap (i, j) of the
kernel reads:

    columns[(c, i, j), (h, v, n)] = x[n, c, s h + i - p, s v + j - p]

In memory the images n of a batch lie side by side, as in `columns`: every array (N, C, H, W) made
here is a view of a matrix (C, H W N), a row a channel. So y = w columns is one product without a
copy, and `columns` is copied in runs of N numbers.

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
Source: Chellapilla, Puri & Simard (2006), who unroll the images; a block of columns stays in the
cache. Memory in the order (C, H, W, N) after Krizhevsky (2012), cuda-convnet. The names are those
of torch.nn.grad. The right panel has no such file: its convolutions are torch's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_ref.nn.module import Array

Pair = tuple[int, int]
Block = tuple[slice, slice, slice]
Index = tuple[Any, ...]
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
    size = output_size(_size(x), _size(w), stride, padding)
    y = _images(np.empty((len(w), *size, len(x)), x.dtype))
    taps, rows = w.reshape(len(w), -1), _rows(y)
    for block, columns in _columns(x, w.shape, stride, padding):
        np.matmul(taps, columns, out=rows[:, block])
    return y


def conv2d_weight(x: Array, kernel: Pair, dy: Array, stride: Pair, padding: Pair) -> Array:
    """dw by equation (4).

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d_weight(x, (2, 2), np.ones((1, 1, 2, 2)), (1, 1), (0, 0))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    dw = np.zeros((dy.shape[1], x.shape[1], *kernel), x.dtype)
    dtaps, drows = dw.reshape(len(dw), -1), _rows(dy)
    for block, columns in _columns(x, dw.shape, stride, padding):
        dtaps += drows[:, block] @ columns.T
    return dw


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
    size = output_size(_size(x), _size(w), stride, padding)
    y = _images(np.empty((len(w), *size, len(x)), x.dtype))
    dw = np.zeros(w.shape, x.dtype)
    taps, rows = w.reshape(len(w), -1), _rows(y)
    dtaps, drows = dw.reshape(len(w), -1), _rows(dy)
    for block, columns in _columns(x, w.shape, stride, padding):
        np.matmul(taps, columns, out=rows[:, block])
        dtaps += drows[:, block] @ columns.T
    return y, dw


def conv2d_input(size: Pair, w: Array, dy: Array, stride: Pair, padding: Pair) -> Array:
    """dx by equation (2), or by (3) where that is faster.

    `size` is (H, W) of x, since images of several sizes have a y of the same size.

    >>> conv2d_input((3, 3), np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), (1, 1), (0, 0))
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """
    if _is_faster_flipped(w, stride, padding):
        return correlate(dy, flip(w), stride, _flipped_padding(w, padding))

    dx = _images(np.zeros((w.shape[1], *size, len(dy)), dy.dtype))
    pixels, taps, drows = _memory(dx), w.reshape(len(w), -1).T, _rows(dy)
    for block, at in _blocks(w.shape, dy.shape, dy.itemsize):
        dcolumns = (taps @ drows[:, block]).reshape(*w.shape[1:], *_sizes(at))
        for read, written in _views(at, size, _size(w), stride, padding):
            pixels[read] += dcolumns[written]
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
    """(block, columns[:, block]) for all blocks. The next block overwrites the array.

    A kernel of 1 x 1 reads the pixels themselves, so that nothing is copied.
    """
    kernel = weight[2], weight[3]
    size = output_size(_size(x), kernel, stride, padding)
    is_pointwise = (kernel, stride, padding) == ((1, 1), (1, 1), (0, 0))
    rows = _rows(x) if is_pointwise else None
    pixels, memory = _memory(x), np.empty(0, x.dtype)
    for block, at in _blocks(weight, (len(x), 0, *size), x.itemsize):
        if rows is not None:
            yield block, rows[:, block]
            continue
        shape = *weight[1:], *_sizes(at)
        if memory.size < math.prod(shape):
            memory = np.empty(math.prod(shape), x.dtype)
        columns = memory[: math.prod(shape)].reshape(shape)
        if padding != (0, 0):
            columns.fill(0)
        for read, written in _views(at, _size(x), kernel, stride, padding):
            columns[written] = pixels[read]
        yield block, columns.reshape(math.prod(weight[1:]), -1)


def _views(
    at: Block, size: Pair, kernel: Pair, stride: Pair, padding: Pair
) -> Iterator[tuple[Index, Index]]:
    """For each tap (i, j), the pixels (C, H, W, N) that it reads, and their place in the block of
    columns (C, kH, kW, h, v, n); the rest of the block is padding."""
    (h, v, n), (H, W), (sH, sW), (pH, pW) = at, size, stride, padding
    for i, j in np.ndindex(kernel):
        (rows, hs), (columns, vs) = _overlap(h, i, sH, pH, H), _overlap(v, j, sW, pW, W)
        yield (slice(None), rows, columns, n), (slice(None), i, j, hs, vs)


def _overlap(block: slice, tap: int, stride: int, padding: int, size: int) -> tuple[slice, slice]:
    """The indices a = stride h + tap - padding with 0 <= a < size for h in `block`, and the place
    of these h in the block."""
    shift = tap - padding
    first = max(block.start, -(shift // stride))
    count = max(0, min(block.stop, (size - 1 - shift) // stride + 1) - first)
    start = stride * first + shift
    place = first - block.start
    return slice(start, start + stride * count, stride), slice(place, place + count)


def _blocks(
    weight: tuple[int, ...], images: tuple[int, ...], itemsize: int
) -> Iterator[tuple[slice, Block]]:
    """The columns in blocks, as a slice of all and as slices of rows h, columns v and images n.

    A block fills BLOCK bytes, or as many as the weight has: the weight is read once a block, and
    should not take longer to read than the columns.
    """
    (out, C, kH, kW), (N, _, OH, OW) = weight, images
    count = max(1, out, BLOCK // (C * kH * kW * itemsize))
    sizes = max(1, count // (OW * N)), min(OW, max(1, count // N)), min(N, count)
    start = 0
    for h in range(0, OH, sizes[0]):
        for v in range(0, OW, sizes[1]):
            for n in range(0, N, sizes[2]):
                ends = min(h + sizes[0], OH), min(v + sizes[1], OW), min(n + sizes[2], N)
                stop = start + (ends[0] - h) * (ends[1] - v) * (ends[2] - n)
                yield slice(start, stop), (slice(h, ends[0]), slice(v, ends[1]), slice(n, ends[2]))
                start = stop


def _sizes(at: Block) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in at)


def _images(memory: Array) -> Array:
    """(C, H, W, N) -> (N, C, H, W), a view."""
    return memory.transpose(3, 0, 1, 2)


def _memory(images: Array) -> Array:
    """(N, C, H, W) -> (C, H, W, N), a view."""
    return images.transpose(1, 2, 3, 0)


def _rows(images: Array) -> Array:
    """(N, C, H, W) -> (C, H W N), a view of an array of this file."""
    return _memory(images).reshape(images.shape[1], -1)


def _size(images: Array) -> Pair:
    return images.shape[2], images.shape[3]
