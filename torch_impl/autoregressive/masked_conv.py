"""Masked convolution for autoregressive images.

Left panel: numpy_ref/autoregressive/masked_conv.py
The windows are in model_specs.autoregressive.windows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_specs.autoregressive.windows import Window, channel_masks
from model_specs.common.fields import check_positive_int
from torch_impl.nn import checks
from torch_impl.nn.functional import weight_norm
from torch_impl.nn.module import as_dtype
from torch_impl.nn.weight_norm import WeightNorm


class MaskedConv2d(nn.Conv2d):
    """y = conv2d(x, w m) + b, padded so that y has the size of x, and pixel (h, v) of y sees of x
    what the window lets it, here Window.raster(3):

        type A:  1 1 1     type B:  1 1 1     the last free_channels:  1 1 1
                 1 0 0              1 1 0                              1 1 1
                 0 0 0              0 0 0                              1 1 1

    The mask is a buffer that goes to devices with the weight, but no part of the state_dict.
    Shapes: x (N, I, H, W), weight (O, I, kH, kW), mask (I, kH, kW) bool, bias (O)
    -> y (N, O, H, W).
    Raises: ValueError for a window that sees nothing, or of type A that includes the pixel itself;
    for free_channels outside [0, I); for an x of wrong shape or dtype.
    Source: van den Oord et al. (2016), arXiv 1601.06759, section 3.4; see the left panel for all
    else.
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: Window,
        mask_type: str,
        free_channels: int = 0,
        *,
        bias: bool = True,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        masks = channel_masks(window, mask_type, in_channels, free_channels)
        check_positive_int("out_channels", out_channels)
        kH, kW = window.kernel_size
        given = (in_channels, out_channels, (kH, kW), 1, (kH // 2, kW // 2))
        super().__init__(*given, bias=bias, dtype=as_dtype(dtype), device=device or "cpu")
        self.register_buffer("mask", torch.tensor(masks, device=device), persistent=False)

    def reset_parameters(self) -> None:
        """Leave the weights alone: torch_impl.nn.init draws them from a Key."""

    def forward(self, x: Tensor) -> Tensor:
        checks.check_images("x", x, self.in_channels, self.weight)
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)


class WNMaskedConv2d(WeightNorm):
    """torch_impl.autoregressive.masked_conv.MaskedConv2d, weight-normalised."""

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: Window,
        mask_type: str,
        free_channels: int = 0,
        **factory_kwargs: Any,
    ) -> None:
        masks = torch.tensor(channel_masks(window, mask_type, in_channels, free_channels))
        kH, kW = window.kernel_size
        super().__init__(out_channels, in_channels, kH, kW, **factory_kwargs)
        self.padding = kH // 2, kW // 2
        self.register_buffer("mask", masks.to(self.weight_v.device), persistent=False)

    def weight(self) -> Tensor:
        return weight_norm(self.weight_v * self.mask, self.weight_g)

    def _multiply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return F.conv2d(x, w, b, padding=self.padding)
