"""Masked convolution for autoregressive images, by hand.

Right panel: torch_impl/autoregressive/masked_conv.py
The windows are in model_specs.autoregressive.windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.windows import Window, channel_masks
from numpy_ref.nn.convolution import Conv2d, conv2d
from numpy_ref.nn.functional import weight_norm
from numpy_ref.nn.module import Array, Vjp
from numpy_ref.nn.weight_norm import WeightNorm


class MaskedConv2d(Conv2d):
    """y[n, o, h, v] = b[o] + sum_cij  m[c, i, j] w[o, c, i, j]  x[n, c, h + i - p, v + j - q]

    with p = (kH - 1) / 2 and q = (kW - 1) / 2, so that the pixel itself is in the middle, and y has
    the size of x. The mask m is 1 where the window lets pixel (h, v) look, here Window.raster(3):

        type A:  1 1 1     type B:  1 1 1     the last free_channels:  1 1 1
                 1 0 0              1 1 0                              1 1 1
                 0 0 0              0 0 0                              1 1 1

    The first layer over an image is of type A, those over its features are of type B. The last
    `free_channels` of x are no part of the image but what it is conditioned on, and are seen whole.
    Shapes: x (N, I, H, W), weight (O, I, kH, kW), mask (I, kH, kW) bool, bias (O)
    -> y (N, O, H, W).
    What the mask hides of the weight stays in it, moves nothing, and has gradient 0.
    `input_grad=False` is for a layer that reads data: nobody asks for dx, so it is not computed.
    Raises: ValueError for a window that sees nothing, or of type A that includes the pixel itself;
    for free_channels outside [0, I); for an x of wrong shape or dtype.
    Source: van den Oord et al. (2016), arXiv 1601.06759, section 3.4. Where we differ: the colours
    of a pixel do not see each other in type A, and all do in type B. Its weights are not yet set: a
    model's init draws them.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: Window,
        mask_type: str,
        free_channels: int = 0,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
        input_grad: bool = True,
    ) -> None:
        self.mask = np.array(channel_masks(window, mask_type, in_channels, free_channels))
        kH, kW = window.kernel_size
        given = (in_channels, out_channels, (kH, kW), 1, (kH // 2, kW // 2))
        super().__init__(*given, bias=bias, dtype=dtype, input_grad=input_grad)

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        b = None if self.bias is None else self.bias.data
        w = self.weight.data * self.mask
        y, y_vjp = conv2d(x, w, b, self.stride, self.padding, input_grad=self._input_grad)

        def vjp(dy: Array) -> Array | None:
            dx, dw, db = y_vjp(dy)
            self.weight.grad += dw * self.mask
            if self.bias is not None:
                self.bias.grad += db
            return dx

        return y, vjp


class WNMaskedConv2d(WeightNorm):
    """`MaskedConv2d`, weight-normalised: w = g (v m) / |v m|.   x (N, I, H, W) -> y (N, O, H, W)"""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: Window,
        mask_type: str,
        free_channels: int = 0,
        **options: Any,
    ) -> None:
        kH, kW = window.kernel_size
        self.mask = np.array(channel_masks(window, mask_type, in_channels, free_channels))
        super().__init__(out_channels, in_channels, kH, kW, **options)
        self.in_channels, self.padding = in_channels, (kH // 2, kW // 2)

    def weight(self) -> tuple[Array, Vjp]:
        v, g = self.weight_v, self.weight_g
        w, weight_norm_vjp = weight_norm(v.data * self.mask, g.data)

        def vjp(dw: Array) -> None:
            dv, dg = weight_norm_vjp(dw)
            v.grad += dv * self.mask
            g.grad += dg

        return w, vjp

    def _multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        return conv2d(x, w, b, padding=self.padding, input_grad=self._input_grad)
