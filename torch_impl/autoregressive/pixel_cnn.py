"""PixelCNN: masked convolution, and two decoders p(x|maps) of images.

Shapes: x (N, 1, H, W) of {0, 1}, maps (N, M, H, W) -> logits (N, 1, H, W). `stacked_pixel_cnn` has
the decoder without a blind spot, `ancestral` draws images from all three.
Left panel: numpy_ref/autoregressive/pixel_cnn.py
Sources: van den Oord et al., "Pixel recurrent neural networks" (2016), arXiv 1601.06759; Chen et
al. (2016), arXiv 1611.02731.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_specs.autoregressive.windows import Window, channel_masks
from model_specs.common.fields import check_positive_int
from model_specs.vlae import VLAEConfig, layout
from torch_impl.autoregressive.resnet import Residual, flat_block
from torch_impl.nn import checks
from torch_impl.nn.functional import weight_norm
from torch_impl.nn.module import as_dtype
from torch_impl.nn.weight_norm import WeightNorm, WNConv2d


class MaskedConv2d(nn.Conv2d):
    """Convolution in which each pixel reads only the pixels of a window before it.

        y = conv2d(x, w m) + b

    padded so that y has the size of x. The mask m is 1 where the window lets a pixel look, here
    Window.raster(3):

        type A:  1 1 1     type B:  1 1 1     the last free_channels:  1 1 1
                 1 0 0              1 1 0                              1 1 1
                 0 0 0              0 0 0                              1 1 1

    The mask is a buffer that goes to devices with the weight, but no part of the state_dict.
    Shapes: x (N, I, H, W), weight (O, I, kH, kW), mask (I, kH, kW) bool, bias (O)
    -> y (N, O, H, W).
    Raises: ValueError for a window that sees nothing, or of type A that includes the pixel itself;
    for free_channels outside [0, I); for an x of wrong shape or dtype.
    Source: van den Oord et al. (2016), arXiv 1601.06759, section 3.4; the left panel says where we
    differ.
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
        geometry: Any = ((kH, kW), 1, (kH // 2, kW // 2))
        factory_kwargs: dict[str, Any] = {"dtype": as_dtype(dtype), "device": device or "cpu"}
        super().__init__(in_channels, out_channels, *geometry, bias=bias, **factory_kwargs)
        self.register_buffer("mask", torch.tensor(masks, device=device), persistent=False)

    def reset_parameters(self) -> None:
        """Leave the weights alone: torch_impl.nn.init draws them from a Key."""

    def forward(self, x: Tensor) -> Tensor:
        checks.check_images("x", x, self.in_channels, self.weight)
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)


class WNMaskedConv2d(WeightNorm):
    """`MaskedConv2d`, weight-normalised: w = g (v m) / |v m|.   x (N, I, H, W) -> y (N, O, H, W)"""

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


class FactorisedDecoder(nn.Module):
    """p(x|maps) = prod_i p(x_i|maps at i): 1 x 1 layers that read no pixel of x."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        C, conv = config.decoder_maps, partial(WNConv2d, **factory_kwargs)
        self.first = conv(config.context_maps, C, 1)
        self.body = _body(config, **factory_kwargs)
        self.last = nn.Sequential(nn.ELU(), conv(C, 1, 1))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        return self.last(self.body(self.first(maps)))


class PixelCNN(nn.Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in the receptive field, maps around i).

    Image and maps are the channels of one convolution of mask type A, which reads the maps whole;
    residual blocks of type B and of 1 x 1 follow.
    """

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        C = config.decoder_maps
        M = 0 if config.latent == "none" else config.context_maps
        self.first = WNMaskedConv2d(1 + M, C, config.window, "A", M, **factory_kwargs)
        self.body = _body(config, **factory_kwargs)
        self.last = nn.Sequential(nn.ELU(), WNConv2d(C, 1, 1, **factory_kwargs))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        return self.last(self.body(self.first(torch.cat((x, maps), 1))))


def _body(config: VLAEConfig, **factory_kwargs: Any) -> nn.Sequential:
    """The residual blocks between the first and the last layer."""
    C, window = config.decoder_maps, config.inner_window
    masked_conv = partial(WNMaskedConv2d, C, C, window, "B", **factory_kwargs)
    return nn.Sequential(
        *layout(
            config,
            masked=lambda: Residual(nn.ELU(), masked_conv()),
            pointwise=lambda: flat_block(C, 1, **factory_kwargs),
        )
    )
