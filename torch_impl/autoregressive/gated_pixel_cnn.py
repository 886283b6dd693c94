"""Gated residual PixelCNN of two stacks: a decoder p(x|maps) of images, vectorised.

The vertical stack v reads the rows above a pixel, the horizontal stack h the pixels to its left and
v. model_specs.autoregressive.gated_layers has the reach of each layer.
Shapes: x (N, C, H, W) in [0, 1], maps (N, M, H, W) -> params (N, P, H, W); v and h (N, F, H, W):
N images of H x W pixels and C channels, M context maps, P parameters of the distribution of a
pixel, F feature maps; a layer has I input and O output channels and a kernel of kH x kW pixels.
Left panel: numpy_ref/autoregressive/gated_pixel_cnn.py
Sources: Salimans et al., "PixelCNN++" (2017), arXiv 1701.05517; Chen et al. (2016), arXiv
1611.02731. Where we differ: no resampling and no dropout; the second convolution of a block is
1 x 1, so that a block extends the field once; the gates start at the scale of every other layer, in
their code at a tenth of it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_specs.autoregressive.gated_layers import Reach, gated_reaches
from model_specs.autoregressive.pixel_layers import channels_read
from model_specs.vlae import VLAEConfig
from torch_impl.autoregressive.pixel_cnn import read_context
from torch_impl.nn.weight_norm import WNConv2d


def concat_elu(x: Tensor) -> Tensor:
    """y = [elu(x), elu(-x)] along axis 1.   x (N, F, ...) -> y (N, 2 F, ...)

    Source: Shang et al. (2016), arXiv 1603.05201, for ReLU; Salimans et al. (2017) for ELU.
    """
    return F.elu(torch.cat((x, -x), 1))


def gate(x: Tensor) -> Tensor:
    """y = a sigmoid(b), x = [a, b] along axis 1.   x (N, 2 F, ...) -> y (N, F, ...)

    Source: van den Oord et al. (2016), arXiv 1606.05328; Salimans et al. (2017) without their tanh.
    """
    a, b = x.chunk(2, 1)
    s = torch.sigmoid(b)
    return a * s


class ShiftedConv2d(WNConv2d):
    """A weight-normalised convolution that reads nothing below a pixel.

        y[n, o, i, j] = b[o] + sum_cam  w[o, c, a, m]  x[n, c, i + a - p, j + m - q]

    with the padding (p, q), and y has the size of x. So the kernel's last row is row i if
    p = kH - 1, and row i - 1 if p = kH; its last column is column j if q = kW - 1, and j - 1 if
    q = kW. Only the vertical stack has a smaller q and reads columns to the right: its features in
    row i depend on the rows of the image above i alone. Every weight is used: no mask is needed.
    Shapes: x (N, I, H, W), weight (O, I, kH, kW) -> y (N, O, H, W).
    Source: Salimans et al. (2017), who shift the image instead.
    """

    padding: tuple[int, int]

    def _multiply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        H, W = x.shape[2:]
        whole = F.conv2d(x, w, b, self.stride, self.padding)
        return whole[:, :, :H, :W]  # what the padding below and to the right adds is dropped


def output_or_zero(layer: nn.Module | None, x: Tensor) -> Any:
    """layer(x), or 0 if the model has no such layer. Any shape."""
    return 0.0 if layer is None else layer(x)


class GatedInput(nn.Module):
    """The first layer: v reads the rows above in the image, h the pixels to the left and v.

        v = vertical(image),   h = horizontal(image) + link(v)

    A window of one column has no pixels to the left, so that h = link(v).
    Shapes: image (N, I, H, W) -> v, h (N, F, H, W).
    """

    def __init__(self, in_channels: int, maps: int, reach: Reach, **factory_kwargs: Any) -> None:
        super().__init__()
        conv: Any = partial(ShiftedConv2d, in_channels, maps, **factory_kwargs)
        up, left, right, before = reach
        self.vertical = conv((up, left + 1 + right), padding=(up, left))
        self.horizontal = conv((1, before), padding=(0, before)) if before else None
        self.link = WNConv2d(maps, maps, 1, **factory_kwargs)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        v = self.vertical(image)
        link = self.link(v)
        row = output_or_zero(self.horizontal, image)
        return v, row + link


class GatedResidual(nn.Module):
    """A gated residual block of one stack.

        y = x + a sigmoid(b),   [a, b] = gates(f(conv(f(x)) + link)) + context(maps)

    with f = `concat_elu`. The link is None in the vertical stack; in the horizontal one it comes
    from v. The maps condition the block at the pixel itself.
    Shapes: x, link and y (N, F, H, W), maps (N, M, H, W).
    Source: Salimans et al. (2017), `gated_resnet` of their code.
    """

    def __init__(
        self,
        features: int,
        context_maps: int,
        kernel_size: tuple[int, int],
        padding: tuple[int, int],
        **factory_kwargs: Any,
    ) -> None:
        super().__init__()
        double = 2 * features
        conv: Any = partial(WNConv2d, kernel_size=1, **factory_kwargs)
        self.conv = ShiftedConv2d(double, features, kernel_size, padding=padding, **factory_kwargs)
        self.gates = conv(double, double)
        self.context = conv(context_maps, double) if context_maps else None

    def forward(self, x: Tensor, maps: Tensor, link: Tensor | None) -> Tensor:
        e = concat_elu(x)
        c = self.conv(e)
        e_c = concat_elu(c if link is None else c + link)
        gates = self.gates(e_c)
        context = output_or_zero(self.context, maps)
        y = gate(gates + context)
        return x + y


class GatedBlock(nn.Module):
    """v' = vertical(v, maps), h' = horizontal(h, maps, link(concat_elu(v')))."""

    def __init__(
        self, features: int, context_maps: int, reach: Reach, **factory_kwargs: Any
    ) -> None:
        super().__init__()
        block: Any = partial(GatedResidual, features, context_maps, **factory_kwargs)
        up, left, right, before = reach
        self.vertical = block((up + 1, left + 1 + right), (up, left))
        self.link = WNConv2d(2 * features, features, 1, **factory_kwargs)
        self.horizontal = block((1, before + 1), (0, before))

    def forward(self, v: Tensor, h: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        v = self.vertical(v, maps, None)
        e = concat_elu(v)
        link = self.link(e)
        h = self.horizontal(h, maps, link)
        return v, h


class GatedPixelCNN(nn.Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in the window, maps).

    The image is scaled to [-1, 1] and gets a channel of ones, which tells a layer where the image
    ends. The maps are inputs of every block.
    """

    def __init__(self, config: VLAEConfig, outputs: int = 1, **factory_kwargs: Any) -> None:
        super().__init__()
        features, M = config.decoder_maps, config.maps_read
        first, *rest = gated_reaches(config.window_width, config.window_rows, config.decoder_blocks)
        self.channels, self.context_channels = config.channels, config.context_channels
        self.first = GatedInput(channels_read(config) + 1, features, first, **factory_kwargs)
        self.body: Any = nn.Sequential(
            *(GatedBlock(features, M, reach, **factory_kwargs) for reach in rest)
        )
        self.last = nn.Sequential(nn.ELU(), WNConv2d(features, outputs, 1, **factory_kwargs))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        pixels = self.rescale(x)
        v, h = self.first(pixels)
        for block in self.body:
            v, h = block(v, h, maps)
        return self.last(h)

    def rescale(self, x: Tensor) -> Tensor:
        """2 x - 1 of the channels that the decoder reads, and a channel of ones, along axis 1."""
        image = read_context(x, self.context_channels)
        ones = torch.ones_like(image[:, :1])
        return torch.cat((2 * image - 1, ones), 1)
