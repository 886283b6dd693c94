"""Masked convolution for autoregressive images.   Left panel: numpy_ref/masked_conv.py

The windows are in model_specs.windows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_specs.fields import check_positive_int
from model_specs.windows import Window, channel_masks
from torch_impl import checks
from torch_impl.module import as_dtype


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
        """torch would draw from its global random state here: torch_impl.init draws from a Key."""

    def forward(self, x: Tensor) -> Tensor:
        checks.check_images("x", x, self.in_channels, self.weight)
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)
