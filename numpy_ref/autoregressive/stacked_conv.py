"""Masked convolution without a blind spot, by hand.

Right panel: torch_impl/autoregressive/stacked_conv.py
What several layers see is in model_specs.autoregressive.receptive_field.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.windows import Window, stacked_reach
from numpy_ref.autoregressive.masked_conv import MaskedConv2d, WNMaskedConv2d
from numpy_ref.nn import checks
from numpy_ref.nn.convolution import Conv2d
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.nn.weight_norm import WNConv2d


class StackedConv2d(Module):
    """One layer of two stacks: v knows the rows above the pixel, h what is left of it as well.

        v'[i, j] = b + sum_am  w[a, m] v[i - up + a, j - side + m]      vertical
        h'[i, j] = masked conv of h along its row i + u v'[i, j]        horizontal, link

    with up = kH // 2, side = kW // 2, and a <= up in type B, a < up in type A. Here both are 1:

                 vertical  horizontal               vertical  horizontal
        type A:   1 1 1                    type B:   1 1 1
        row i     0 0 0      1 0 0                   1 1 1      1 1 0

    The first layer is of type A, with v = h = the image; those over its features are of type B.
    There row i of v is read to the right of the pixel too, which gives nothing away, for it knows
    no row but those above i. So n layers see whole rows, with no blind spot.
    The last `free_channels` of the image are what it is conditioned on: h reads them in the whole
    of its row's kernel, v as any other. Below row i nothing is read, of them neither.
    Shapes: v and h (N, I, H, W), vertical.weight (O, I, up (A) or up + 1 (B), kW),
    horizontal.weight (O, I, 1, kW), link.weight (O, O, 1, 1) -> v', h' (N, O, H, W).
    `input_grad=False` is for a layer that reads data: nobody asks for dv and dh.
    Raises: ValueError for an even kernel, or of type A under 3 x 3; for free_channels outside
    [0, I); for v or h of wrong shape or dtype.
    Source: van den Oord et al. (2016), arXiv 1606.05328, section 2.2. Where we differ: no gates and
    no residuals, which are the model's; and v stands one row lower than theirs, so that h' reads it
    where it is, not a row above. Its weights are not yet set: a model's init draws them.
    """

    plain: Any = Conv2d
    masked: Any = MaskedConv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        mask_type: str,
        free_channels: int = 0,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
        input_grad: bool = True,
    ) -> None:
        up, side = stacked_reach(kernel_size, mask_type)
        rows, columns = up if mask_type == "A" else up + 1, 2 * side + 1
        row, channels = Window.raster((1, columns)), (in_channels, out_channels)
        self.vertical = self.plain(
            *channels, (rows, columns), 1, (up, side), bias=bias, dtype=dtype, input_grad=input_grad
        )
        self.horizontal = self.masked(
            *channels, row, mask_type, free_channels, bias=bias, dtype=dtype, input_grad=input_grad
        )
        self.link = self.plain(out_channels, out_channels, 1, bias=False, dtype=dtype)

    def forward(self, v: Array, h: Array) -> tuple[tuple[Array, Array], Vjp]:
        dtype = next(self.parameters()).data.dtype
        checks.check_images("v", v, self.vertical.in_channels, dtype)
        checks.check_images("h", h, self.vertical.in_channels, dtype)
        if v.shape != h.shape:
            raise ValueError(f"h: got shape {h.shape}, takes that of v, {v.shape}")
        rows = v.shape[2]
        padded, vertical_vjp = self.vertical(v)
        v = padded[:, :, :rows]  # row r has read from row r - up on; those past the end are cut off
        link, link_vjp = self.link(v)
        h, horizontal_vjp = self.horizontal(h)

        def vjp(dv: Array, dh: Array) -> tuple[Array | None, Array | None]:
            dpadded = np.zeros_like(padded)
            dpadded[:, :, :rows] = dv + link_vjp(dh)
            return vertical_vjp(dpadded), horizontal_vjp(dh)

        return (v, h + link), vjp


class WNStackedConv2d(StackedConv2d):
    """The same of weight-normalised convolutions (see WeightNorm)."""

    plain, masked = WNConv2d, WNMaskedConv2d
