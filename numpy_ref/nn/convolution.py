"""Convolution and its transpose, NCHW.   Right panel: torch.nn.Conv2d, torch.nn.ConvTranspose2d

Each is the other's input gradient, and both have one weight gradient: see correlation.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int
from numpy_ref.nn import checks
from numpy_ref.nn.correlation import (
    Pair,
    correlate,
    correlate_adjoint,
    correlate_both,
    correlate_gradients,
    correlate_weight,
    output_size,
)
from numpy_ref.nn.layers import Weighted
from numpy_ref.nn.module import Array, Parameter, Vjp, as_dtype


class _Convolution(Weighted):
    """What both are given, and their weights: not yet set, for a model's init draws them."""

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
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride, self.padding = _pair("stride", stride, 1), _pair("padding", padding, 0)
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(np.empty((*channels, *self.kernel_size), as_dtype(dtype)))
        self.bias = Parameter(np.empty(out_channels, as_dtype(dtype))) if bias else None
        self._input_grad = input_grad


class Conv2d(_Convolution):
    """y[n, o, h, v] = b[o] + sum_cij  w[o, c, i, j]  x[n, c, s h + i - p, s v + j - p]

    Shapes: x (N, I, H, W), weight (O, I, kH, kW), bias (O) -> y (N, O, OH, OW),
    OH = floor((H + 2 p - kH) / s) + 1, and OW alike.
    `input_grad=False` is for a layer that reads data: nobody asks for dx, so it is not computed.
    Raises: ValueError for an x of wrong shape or dtype, or smaller than the kernel.
    Source: torch.nn.Conv2d, without dilation and groups. Its weights are not yet set: a model's
    init draws them.
    """

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        (w, w_vjp), s, p = self._multiplier(), self.stride, self.padding
        checks.check_images("x", x, self.in_channels, w.dtype)
        size = x.shape[2], x.shape[3]
        if min(output_size(size, self.kernel_size, s, p)) < 1:
            raise ValueError(
                f"x: got images of {size}, padded by {p}, takes at least the kernel's "
                f"{self.kernel_size}"
            )
        y = correlate(x, w, s, p)
        if self.bias is not None:
            y += self.bias.data[:, None, None]

        def vjp(dy: Array) -> Array | None:
            if self.bias is not None:
                self.bias.grad += dy.sum((0, 2, 3))
            dx, dw = correlate_gradients(x, dy, w, s, p, input_grad=self._input_grad)
            w_vjp(dw)
            return dx

        return y, vjp


class ConvTranspose2d(_Convolution):
    """y[n, o, s h + i - p, s v + j - p] += w[c, o, i, j] x[n, c, h, v]   for all c, h, v, i, j

    where y starts as b[o]: each pixel of x paints the kernel, s pixels apart.
    Shapes: x (N, I, H, W), weight (I, O, kH, kW), bias (O) -> y (N, O, OH, OW),
    OH = (H - 1) s - 2 p + kH + output_padding, and OW alike.
    `output_padding` names which of the s sizes is meant that a Conv2d takes to H.
    Raises: ValueError for an x of wrong shape or dtype, or one that leaves no image.
    Source: torch.nn.ConvTranspose2d, without dilation and groups. Its weights are not yet set: a
    model's init draws them.
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
        given = (in_channels, out_channels, kernel_size, stride, padding)
        super().__init__(*given, bias=bias, dtype=dtype, input_grad=input_grad)
        self.output_padding = _pair("output_padding", output_padding, 0)
        if any(o >= s for o, s in zip(self.output_padding, self.stride, strict=True)):
            raise ValueError(
                f"output_padding: got {output_padding!r}, takes less than the stride {self.stride}"
            )

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        (w, w_vjp), s, p = self._multiplier(), self.stride, self.padding
        checks.check_images("x", x, self.in_channels, w.dtype)
        size = self._output_size((x.shape[2], x.shape[3]))
        if min(size) < 1:
            raise ValueError(
                f"x: got images of {x.shape[2:]}, which padding {p} leaves of size {size}, "
                "takes larger ones"
            )
        y = correlate_adjoint(x, w, size, s, p)
        if self.bias is not None:
            y += self.bias.data[:, None, None]

        def vjp(dy: Array) -> Array | None:
            if self.bias is not None:
                self.bias.grad += dy.sum((0, 2, 3))
            if not self._input_grad:
                w_vjp(correlate_weight(dy, x, self.kernel_size, s, p))
                return None
            dx, dw = correlate_both(dy, w, x, s, p)
            w_vjp(dw)
            return dx

        return y, vjp

    def _output_size(self, size: Pair) -> Pair:
        axes = zip(
            size, self.kernel_size, self.stride, self.padding, self.output_padding, strict=True
        )
        h, w = ((n - 1) * s - 2 * p + k + extra for n, k, s, p, extra in axes)
        return h, w


def _pair(name: str, value: int | Pair, least: int) -> Pair:
    """An int for both axes, or one for each. Raises ValueError for any other."""
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2 or not all(type(n) is int and n >= least for n in pair):
        raise ValueError(f"{name}: got {value!r}, takes an int >= {least} or a pair of them")
    return pair
