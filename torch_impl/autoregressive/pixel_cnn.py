"""PixelCNN: masked convolution, and two decoders p(x|maps) of images, vectorised.

`stacked_pixel_cnn` and `gated_pixel_cnn` have decoders without a blind spot, `ancestral` draws
images from all of them.

Shapes: x (N, C, H, W) in [0, 1], maps (N, M, H, W) -> params (N, P, H, W): N images of H x W
pixels and C channels, M context maps, P parameters of the distribution of a pixel, such as its
logit; a layer has I input and O output channels and a kernel of kH x kW pixels.
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

from model_specs.autoregressive.pixel_layers import LUMA, channels_read, layout
from model_specs.autoregressive.windows import Window, channel_masks
from model_specs.common.fields import check_positive_int
from model_specs.vlae import VLAEConfig
from torch_impl.autoregressive.resnet import Residual, flat_block
from torch_impl.nn import checks
from torch_impl.nn.functional import weight_norm
from torch_impl.nn.module import as_dtype
from torch_impl.nn.weight_norm import WeightNorm, WNConv2d


class MaskedConv2d(nn.Conv2d):
    """Convolution in which each pixel reads only the pixels of a window before it.

        y[n, o, h, v] = b[o] + sum_cij  m[c, i, j] w[o, c, i, j]  x[n, c, h + i - p, v + j - q]

    with p = (kH - 1) / 2 and q = (kW - 1) / 2, so that the pixel itself is in the middle, and y has
    the size of x. The mask m is 1 at the pixels that a pixel reads, here for Window.raster(3):

        type A:  1 1 1     type B:  1 1 1     the last free_channels:  1 1 1
                 1 0 0              1 1 0                              1 1 1
                 0 0 0              0 0 0                              1 1 1

    The first layer over an image is of type A, the layers over its features are of type B. The last
    `free_channels` of x condition the image and are no part of it, so that the whole kernel reads
    them. A masked weight keeps its value, changes no output, and has gradient 0. The weights are
    uninitialised; a model's `init` draws them.
    The mask is a buffer that moves between devices with the weight, but no part of the state_dict.
    Shapes: x (N, I, H, W), weight (O, I, kH, kW), mask (I, kH, kW) bool, bias (O)
    -> y (N, O, H, W).
    Raises: ValueError for an empty window, or one of type A that includes the pixel itself; for
    free_channels outside [0, I); for an x of wrong shape or dtype.
    Source: van den Oord et al. (2016), arXiv 1601.06759, section 3.4. Where we differ: the channels
    of a pixel do not read each other in type A, and all read each other in type B.
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
        geometry = (kH, kW), 1, (kH // 2, kW // 2)
        factory_kwargs: dict[str, Any] = {"dtype": as_dtype(dtype), "device": device or "cpu"}
        super().__init__(in_channels, out_channels, *geometry, bias=bias, **factory_kwargs)
        self.register_buffer("mask", torch.tensor(masks, device=device), persistent=False)

    def reset_parameters(self) -> None:
        """Do nothing: torch's constructor must not draw weights from global random state."""

    def forward(self, x: Tensor) -> Tensor:
        checks.check_images("x", x, self.in_channels, self.weight)
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)


class WNMaskedConv2d(WeightNorm):
    """`MaskedConv2d`, weight-normalised: w = g (v m) / |v m|.   x (N, I, H, W) -> y (N, O, H, W)"""

    mask: Tensor
    taps: Tensor
    """Rows and columns of the kernel that the first channel reads, (2, T), for ancestral sampling:
    to look for them on a device, the host would wait for it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: Window,
        mask_type: str,
        free_channels: int = 0,
        **factory_kwargs: Any,
    ) -> None:
        masks = channel_masks(window, mask_type, in_channels, free_channels)
        kH, kW = window.kernel_size
        super().__init__(out_channels, in_channels, kH, kW, **factory_kwargs)
        self.in_channels, self.padding = in_channels, (kH // 2, kW // 2)
        mask = torch.tensor(masks, device=self.weight_v.device)
        self.register_buffer("mask", mask, persistent=False)
        taps = torch.tensor(masks[0]).nonzero().T.to(self.weight_v.device)
        self.register_buffer("taps", taps, persistent=False)

    def weight(self) -> Tensor:
        return weight_norm(self.weight_v * self.mask, self.weight_g)

    def _multiply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return F.conv2d(x, w, b, padding=self.padding)


def luma(x: Tensor) -> Tensor:
    """y = 0.299 R + 0.587 G + 0.114 B: the grey of a colour.   x (N, 3, ...) -> y (N, 1, ...)"""
    return LUMA[0] * x[:, :1] + LUMA[1] * x[:, 1:2] + LUMA[2] * x[:, 2:]


def read_context(x: Tensor, context_channels: str) -> Tensor:
    """The channels of the image that a decoder reads: the luma for "grey", otherwise x."""
    return luma(x) if context_channels == "grey" and x.shape[1] == 3 else x


class FactorisedDecoder(nn.Module):
    """p(x|maps) = prod_i p(x_i|maps at i), computed by 1 x 1 layers, which read no pixel of x."""

    def __init__(self, config: VLAEConfig, outputs: int = 1, **factory_kwargs: Any) -> None:
        super().__init__()
        C = config.decoder_maps
        conv: Any = partial(WNConv2d, **factory_kwargs)
        self.channels = config.channels
        self.first = conv(config.context_maps, C, 1)
        self.body = _body(config, **factory_kwargs)
        self.last = nn.Sequential(nn.ELU(), conv(C, outputs, 1))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        return self.last(self.body(self.first(maps)))


class PixelCNN(nn.Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in the receptive field, maps around i).

    Image and maps are the channels of one convolution of mask type A, in which the maps are free
    channels; residual blocks of type B and of 1 x 1 follow.
    """

    def __init__(self, config: VLAEConfig, outputs: int = 1, **factory_kwargs: Any) -> None:
        super().__init__()
        C, M = config.decoder_maps, config.maps_read
        self.channels, self.context_channels = config.channels, config.context_channels
        self.first = WNMaskedConv2d(
            channels_read(config) + M, C, config.window, "A", M, **factory_kwargs
        )
        self.body = _body(config, **factory_kwargs)
        self.last = nn.Sequential(nn.ELU(), WNConv2d(C, outputs, 1, **factory_kwargs))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        image = read_context(x, self.context_channels)
        h = self.first(torch.cat((image, maps), 1))
        return self.last(self.body(h))


def _body(config: VLAEConfig, **factory_kwargs: Any) -> nn.Sequential:
    """The residual blocks between the first and the last layer."""
    C, window = config.decoder_maps, config.inner_window
    masked_conv: Any = partial(WNMaskedConv2d, C, C, window, "B", **factory_kwargs)
    return nn.Sequential(
        *layout(
            config,
            masked=lambda: Residual(nn.ELU(), masked_conv()),
            pointwise=lambda: flat_block(C, 1, **factory_kwargs),
        )
    )
