"""PixelCNN of two stacks: a decoder p(x|maps) of images without a blind spot, by hand.

Shapes: x (N, C, H, W) in [0, 1], maps (N, M, H, W) -> params (N, P, H, W); v and h (N, F, H, W):
N images of H x W pixels and C channels, M context maps, P parameters of the distribution of a
pixel, F feature maps; a layer has I input and O output channels and a kernel of kH x kW pixels.
Right panel: torch_impl/autoregressive/stacked_pixel_cnn.py
The receptive field of several layers is in model_specs.autoregressive.receptive_field.
Sources: van den Oord et al., "Conditional image generation with PixelCNN decoders" (2016), arXiv
1606.05328; Chen et al. (2016), arXiv 1611.02731.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.pixel_layers import KERNEL_SIZE, channels_read, layout
from model_specs.autoregressive.windows import Window, stacked_reach
from model_specs.vlae import VLAEConfig
from numpy_ref.autoregressive.pixel_cnn import MaskedConv2d, WNMaskedConv2d, read_context
from numpy_ref.autoregressive.resnet import flat_block
from numpy_ref.nn import checks
from numpy_ref.nn.convolution import Conv2d
from numpy_ref.nn.functional import ELU, elu
from numpy_ref.nn.module import Array, Module, Sequential, Vjp
from numpy_ref.nn.weight_norm import WNConv2d


class StackedConv2d(Module):
    """One layer of two stacks: v reads the rows above a pixel, h also the pixels to its left.

        v'[i, j] = b + sum_am  w[a, m] v[i - up + a, j - side + m]      vertical
        h'[i, j] = sum_m  q[m] h[i, j - side + m] + u v'[i, j]          horizontal, link

    with up = floor(kH / 2), side = floor(kW / 2), a < up and m < side in type A, a <= up and
    m <= side in type B; m in the sum of v' is not bounded. Here up and side are 1:

                 vertical  horizontal               vertical  horizontal
        type A:   1 1 1                    type B:   1 1 1
        row i     0 0 0      1 0 0                   1 1 1      1 1 0

    The first layer is of type A, with v = h = the image; the layers over its features are of type
    B. They read row i of v to the right of the pixel too, which is allowed, since v depends on the
    rows above i alone. So n layers read whole rows, with no blind spot.
    The last `free_channels` condition the image: h reads them in the whole kernel of its row, v in
    the same rows as the image. No channel is read below row i. The weights are uninitialised; a
    model's `init` draws them.
    Shapes: v and h (N, I, H, W), vertical.weight (O, I, up, kW) in type A and (O, I, up + 1, kW) in
    type B, horizontal.weight (O, I, 1, kW), link.weight (O, O, 1, 1) -> v', h' (N, O, H, W).
    `input_grad=False` is for a layer that reads data: the vjp returns None for dv and dh.
    Raises: ValueError for an even kernel, or of type A under 3 x 3; for free_channels outside
    [0, I); for v or h of wrong shape or dtype.
    Source: van den Oord et al. (2016), arXiv 1606.05328, section 2.2. Where we differ: no gates and
    no residual connections, which StackedResidual adds; and v is one row lower than theirs, so that
    h' reads it at the pixel itself, not a row above.
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
        options: dict[str, Any] = {"bias": bias, "dtype": dtype, "input_grad": input_grad}
        self.vertical = self.plain(*channels, (rows, columns), 1, (up, side), **options)
        self.horizontal = self.masked(*channels, row, mask_type, free_channels, **options)
        self.link = self.plain(out_channels, out_channels, 1, bias=False, dtype=dtype)

    def forward(self, v: Array, h: Array) -> tuple[tuple[Array, Array], Vjp]:
        dtype = next(self.parameters()).data.dtype
        checks.check_images("v", v, self.vertical.in_channels, dtype)
        checks.check_images("h", h, self.vertical.in_channels, dtype)
        if v.shape != h.shape:
            raise ValueError(f"h: got shape {h.shape}, takes the shape of v, {v.shape}")
        rows = v.shape[2]
        padded, vertical_vjp = self.vertical(v)
        v = padded[:, :, :rows]  # row r reads rows from r - up on; the last rows are dropped
        link, link_vjp = self.link(v)
        h, horizontal_vjp = self.horizontal(h)

        def vjp(dv: Array, dh: Array) -> tuple[Array | None, Array | None]:
            dpadded = np.zeros_like(padded)
            dpadded[:, :, :rows] = dv + link_vjp(dh)
            return vertical_vjp(dpadded), horizontal_vjp(dh)

        return (v, h + link), vjp


class WNStackedConv2d(StackedConv2d):
    """`StackedConv2d` of weight-normalised convolutions (see WeightNorm)."""

    plain, masked = WNConv2d, WNMaskedConv2d


class StackedResidual(Module):
    """(v + v', h + h') with v', h' = layer(elu(v), elu(h))."""

    def __init__(self, layer: WNStackedConv2d) -> None:
        self.layer = layer

    def forward(self, v: Array, h: Array) -> tuple[tuple[Array, Array], Vjp]:
        elu_v, elu_v_vjp = elu(v)
        elu_h, elu_h_vjp = elu(h)
        (branch_v, branch_h), layer_vjp = self.layer(elu_v, elu_h)

        def vjp(dv: Array, dh: Array) -> tuple[Array, Array]:
            delu_v, delu_h = layer_vjp(dv, dh)
            return dv + elu_v_vjp(delu_v), dh + elu_h_vjp(delu_h)

        return (v + branch_v, h + branch_h), vjp


class HorizontalBlock(Module):
    """(v, block(h)): a 1 x 1 block between the layers of two stacks."""

    def __init__(self, block: Module) -> None:
        self.block = block

    def forward(self, v: Array, h: Array) -> tuple[tuple[Array, Array], Vjp]:
        h, block_vjp = self.block(h)
        return (v, h), lambda dv, dh: (dv, block_vjp(dh))


class StackedPixelCNN(Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in the receptive field, maps around i)."""

    def __init__(self, config: VLAEConfig, outputs: int = 1, **factory_kwargs: Any) -> None:
        C, M = config.decoder_maps, config.maps_read
        conv: Any = partial(WNStackedConv2d, kernel_size=KERNEL_SIZE, **factory_kwargs)
        self.channels, self.context_channels = config.channels, config.context_channels
        self.first = conv(channels_read(config) + M, C, mask_type="A", free_channels=M)
        self.body = Sequential(
            *layout(
                config,
                masked=lambda: StackedResidual(conv(C, C, mask_type="B")),
                pointwise=lambda: HorizontalBlock(flat_block(C, 1, **factory_kwargs)),
            )
        )
        self.last = Sequential(ELU(), WNConv2d(C, outputs, 1, **factory_kwargs))

    def forward(self, x: Array, maps: Array) -> tuple[Array, Vjp]:
        image, image_vjp = read_context(x, self.context_channels)
        channels = np.concatenate((image, maps), 1)
        (v, h), first_vjp = self.first(channels, channels)
        block_vjps = []
        for block in self.body:
            (v, h), block_vjp = block(v, h)
            block_vjps.append(block_vjp)
        params, last_vjp = self.last(h)

        def vjp(dparams: Array) -> tuple[Array, Array]:
            dv, dh = 0.0, last_vjp(dparams)  # no layer reads the last v
            for block_vjp in reversed(block_vjps):
                dv, dh = block_vjp(dv, dh)
            dimage, dmaps = np.split(sum(first_vjp(dv, dh)), [image.shape[1]], 1)
            return image_vjp(dimage), dmaps

        return params, vjp
