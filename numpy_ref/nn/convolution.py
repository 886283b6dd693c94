"""Convolution and its transpose, NCHW.   Right panel: torch.nn.Conv2d, torch.nn.ConvTranspose2d

The input gradient of either is the other; correlation.py derives both.

Shapes: N images; H x W pixels and I input channels before a layer, OH x OW pixels and O output
channels after it; a kernel has kH x kW pixels. Stride s and padding p stand for pairs.
Source: the definitions of torch.nn.functional, without dilation and groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int
from numpy_ref.nn import checks
from numpy_ref.nn.correlation import (
    Pair,
    conv2d_and_weight,
    conv2d_gradients,
    conv2d_input,
    conv2d_weight,
    correlate,
    output_size,
)
from numpy_ref.nn.module import Array, Module, Parameter, Vjp, as_dtype


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    *,
    input_grad: bool = True,
) -> tuple[Array, Vjp]:
    """y[n, o, h, v] = b[o] + sum_cij  w[o, c, i, j]  x[n, c, s h + i - p, s v + j - p]

    Shapes: x (N, I, H, W), w (O, I, kH, kW), b (O) or None -> y (N, O, OH, OW),
    OH = floor((H + 2 p - kH) / s) + 1, and OW alike. The vjp returns (dx, dw, db); db is None if b
    is None, and dx is None if `input_grad` is False, for an x that is data.
    Raises: ValueError for an x of wrong shape or dtype, or smaller than the kernel.

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> y, vjp = conv2d(x, np.ones((1, 1, 2, 2)), np.array([0.5]))
    >>> y
    array([[[[ 8.5, 12.5],
             [20.5, 24.5]]]])
    >>> dx, dw, db = vjp(np.ones_like(y))
    >>> dx  # the number of windows that read each pixel
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """
    checks.check_images("x", x, w.shape[1], w.dtype)
    if min(output_size(_size(x), _size(w), stride, padding)) < 1:
        raise ValueError(
            f"x: got images of {_size(x)}, padded by {padding}, takes at minimum the kernel's "
            f"{_size(w)}"
        )
    y = correlate(x, w, stride, padding)
    if b is not None:
        y += b[:, None, None]

    def vjp(dy: Array) -> tuple[Array | None, Array, Array | None]:
        dx, dw = conv2d_gradients(x, w, dy, stride, padding, input_grad=input_grad)
        return dx, dw, None if b is None else dy.sum((0, 2, 3))

    return y, vjp


def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    *,
    input_grad: bool = True,
) -> tuple[Array, Vjp]:
    """y[n, o, s h + i - p, s v + j - p] += w[c, o, i, j] x[n, c, h, v]   for all c, h, v, i, j

    where y starts as b[o]: each pixel of x adds the kernel, times itself, to y, s pixels apart.
    Shapes: x (N, I, H, W), w (I, O, kH, kW), b (O) or None -> y (N, O, OH, OW),
    OH = (H - 1) s - 2 p + kH + output_padding, and OW alike. The vjp returns (dx, dw, db), as
    in `conv2d`.
    Raises: ValueError for an x of wrong shape or dtype, or if y would be empty.

    >>> y, vjp = conv_transpose2d(np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 1, 2)), None, (1, 2))
    >>> y
    array([[[[1., 1., 2., 2.]]]])
    >>> dx, dw, db = vjp(np.array([[[[1.0, 2.0, 3.0, 4.0]]]]))
    >>> dx, dw
    (array([[[[3., 7.]]]]), array([[[[ 7., 10.]]]]))
    """
    checks.check_images("x", x, w.shape[0], w.dtype)
    axes = zip(_size(x), _size(w), stride, padding, output_padding, strict=True)
    height, width = ((n - 1) * s - 2 * p + k + extra for n, k, s, p, extra in axes)
    if min(height, width) < 1:
        raise ValueError(
            f"x: got images of {_size(x)}, whose output with padding {padding} has size "
            f"{(height, width)}, takes larger ones"
        )
    y = conv2d_input((height, width), w, x, stride, padding)
    if b is not None:
        y += b[:, None, None]

    def vjp(dy: Array) -> tuple[Array | None, Array, Array | None]:
        db = None if b is None else dy.sum((0, 2, 3))
        if not input_grad:
            return None, conv2d_weight(dy, _size(w), x, stride, padding), db
        return *conv2d_and_weight(dy, w, x, stride, padding), db

    return y, vjp


class _Convolution(Module):
    """The settings and parameters of both layers."""

    transposed = False  # as in torch

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
        input_grad: bool = True,
    ) -> None:
        check_positive_int("in_channels", in_channels)
        check_positive_int("out_channels", out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = as_pair("kernel_size", kernel_size, 1)
        self.stride, self.padding = as_pair("stride", stride, 1), as_pair("padding", padding, 0)
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(np.empty((*channels, *self.kernel_size), as_dtype(dtype)))
        self.bias = Parameter(np.empty(out_channels, as_dtype(dtype))) if bias else None
        self._input_grad = input_grad

    def _add_gradients(self, y_vjp: Vjp) -> Vjp:
        """The layer's vjp: call the pure function's vjp, and add dw and db to `.grad`."""

        def vjp(dy: Array) -> Array | None:
            dx, dw, db = y_vjp(dy)
            self.weight.grad += dw
            if self.bias is not None:
                self.bias.grad += db
            return dx

        return vjp


class Conv2d(_Convolution):
    """`conv2d` with a weight and a bias.

    The weights are uninitialised; a model's `init` draws them.
    `input_grad=False` is for a first layer, whose input is data: the vjp returns None for dx.
    Shapes: x (N, I, H, W), weight (O, I, kH, kW), bias (O) -> y (N, O, OH, OW).
    Raises: ValueError for an x of wrong shape or dtype, or smaller than the kernel.
    Source: torch.nn.Conv2d, without dilation and groups.
    """

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        w, b = self.weight.data, None if self.bias is None else self.bias.data
        y, y_vjp = conv2d(x, w, b, self.stride, self.padding, input_grad=self._input_grad)
        return y, self._add_gradients(y_vjp)


class ConvTranspose2d(_Convolution):
    """`conv_transpose2d` with a weight and a bias.

    A Conv2d of stride s maps s sizes to the size of x; `output_padding` chooses one of them for y.
    The weights are uninitialised; a model's `init` draws them.
    Shapes: x (N, I, H, W), weight (I, O, kH, kW), bias (O) -> y (N, O, OH, OW).
    Raises: ValueError for an x of wrong shape or dtype, or if y would be empty.
    Source: torch.nn.ConvTranspose2d, without dilation and groups.
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
        input_grad: bool = True,
    ) -> None:
        settings = (in_channels, out_channels, kernel_size, stride, padding)
        super().__init__(*settings, bias=bias, dtype=dtype, input_grad=input_grad)
        self.output_padding = as_output_padding(output_padding, self.stride)

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        w, b = self.weight.data, None if self.bias is None else self.bias.data
        geometry = self.stride, self.padding, self.output_padding
        y, y_vjp = conv_transpose2d(x, w, b, *geometry, input_grad=self._input_grad)
        return y, self._add_gradients(y_vjp)


def as_pair(name: str, value: int | Pair, minimum: int) -> Pair:
    """(n, n) for an int n; a pair is returned unchanged.

    Raises: ValueError unless both are ints of at minimum `minimum`.

    >>> as_pair("stride", 2, 1)
    (2, 2)
    """
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2 or not all(type(n) is int and n >= minimum for n in pair):
        raise ValueError(f"{name}: got {value!r}, takes an int >= {minimum} or a pair of them")
    return pair


def as_output_padding(output_padding: int | Pair, stride: Pair) -> Pair:
    """`as_pair`, for the output padding. Raises ValueError unless each is less than the stride.

    >>> as_output_padding(1, (2, 2))
    (1, 1)
    """
    pair = as_pair("output_padding", output_padding, 0)
    if any(n >= s for n, s in zip(pair, stride, strict=True)):
        raise ValueError(
            f"output_padding: got {output_padding!r}, takes less than the stride {stride}"
        )
    return pair


def _size(images: Array) -> Pair:
    return images.shape[2], images.shape[3]
