"""Masked convolution without a blind spot.

Left panel: numpy_ref/autoregressive/stacked_conv.py
What several layers see is in model_specs.autoregressive.receptive_field.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model_specs.autoregressive.windows import Window, stacked_reach
from model_specs.common.fields import check_positive_int
from torch_impl.autoregressive.masked_conv import MaskedConv2d, WNMaskedConv2d
from torch_impl.nn import checks
from torch_impl.nn.convolution import Conv2d
from torch_impl.nn.module import Module
from torch_impl.nn.weight_norm import WNConv2d


class StackedConv2d(Module):
    """One layer of two stacks: v knows the rows above the pixel, h what is left of it as well.

        v'[i, j] = b + sum_am  w[a, m] v[i - up + a, j - side + m]      vertical
        h'[i, j] = masked conv of h along its row i + u v'[i, j]        horizontal, link

    with up = kH // 2, side = kW // 2, and a <= up in type B, a < up in type A. Here both are 1:

                 vertical  horizontal               vertical  horizontal
        type A:   1 1 1                    type B:   1 1 1
        row i     0 0 0      1 0 0                   1 1 1      1 1 0

    Shapes: v and h (N, I, H, W), vertical.weight (O, I, up (A) or up + 1 (B), kW),
    horizontal.weight (O, I, 1, kW), link.weight (O, O, 1, 1) -> v', h' (N, O, H, W).
    Raises: ValueError for an even kernel, or of type A under 3 x 3; for free_channels outside
    [0, I); for v or h of wrong shape or dtype.
    Source: van den Oord et al. (2016), arXiv 1606.05328, section 2.2; see the left panel for all
    else.
    """

    plain: Any = staticmethod(Conv2d)
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
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        check_positive_int("in_channels", in_channels)
        self.in_channels = in_channels
        check_positive_int("out_channels", out_channels)
        up, side = stacked_reach(kernel_size, mask_type)
        rows, columns = up if mask_type == "A" else up + 1, 2 * side + 1
        row, channels = Window.raster((1, columns)), (in_channels, out_channels)
        factory_kwargs: dict[str, Any] = {"dtype": dtype, "device": device}
        self.vertical = self.plain(
            *channels, (rows, columns), 1, (up, side), bias=bias, **factory_kwargs
        )
        self.horizontal = self.masked(
            *channels, row, mask_type, free_channels, bias=bias, **factory_kwargs
        )
        self.link = self.plain(out_channels, out_channels, 1, bias=False, **factory_kwargs)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        model = next(self.parameters())
        checks.check_images("v", v, self.in_channels, model)
        checks.check_images("h", h, self.in_channels, model)
        if v.shape != h.shape:
            raise ValueError(f"h: got shape {tuple(h.shape)}, takes that of v, {tuple(v.shape)}")
        v = self.vertical(v)[:, :, : v.shape[2]]
        return v, self.horizontal(h) + self.link(v)


class WNStackedConv2d(StackedConv2d):
    """The same of weight-normalised convolutions (see WeightNorm)."""

    plain, masked = WNConv2d, WNMaskedConv2d
