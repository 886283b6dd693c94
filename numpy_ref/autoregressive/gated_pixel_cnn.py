"""Gated residual PixelCNN of two stacks: a decoder p(x|maps) of images, by hand.

The vertical stack v reads the rows above a pixel, the horizontal stack h the pixels to its left and
v. model_specs.autoregressive.gated_layers has the reach of each layer.
Shapes: x (N, C, H, W) in [0, 1], maps (N, M, H, W) -> params (N, P, H, W); v and h (N, F, H, W):
N images of H x W pixels and C channels, M context maps, P parameters of the distribution of a
pixel, F feature maps; a layer has I input and O output channels and a kernel of kH x kW pixels.
Right panel: torch_impl/autoregressive/gated_pixel_cnn.py
Sources: Salimans et al., "PixelCNN++" (2017), arXiv 1701.05517; Chen et al. (2016), arXiv
1611.02731. Where we differ: no resampling and no dropout; the second convolution of a block is
1 x 1, so that a block extends the field once; the gates start at the scale of every other layer, in
their code at a tenth of it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from model_specs.autoregressive.gated_layers import Reach, gated_reaches
from model_specs.autoregressive.pixel_layers import channels_read
from model_specs.vlae import VLAEConfig
from numpy_ref.autoregressive.pixel_cnn import read_context
from numpy_ref.nn.convolution import conv2d
from numpy_ref.nn.functional import ELU, sigmoid
from numpy_ref.nn.module import Array, Module, Sequential, Vjp
from numpy_ref.nn.weight_norm import WNConv2d


def concat_elu(x: Array) -> tuple[Array, Vjp]:
    """y = [elu(x), elu(-x)] along axis 1.   x (N, F, ...) -> y (N, 2 F, ...)

    With e = e^-|x| - 1 <= 0, elu(x) = max(x, e) and elu(-x) = max(-x, e): one exponential for both.
    Source: Shang et al. (2016), arXiv 1603.05201, for ReLU; Salimans et al. (2017) for ELU.

    >>> y, vjp = concat_elu(np.array([[np.log(4), -2.0]]))
    >>> y.round(4), vjp(np.array([[1.0, 0.0, 10.0, 0.0]]))
    (array([[ 1.3863, -0.8647, -0.75  ,  2.    ]]), array([[-1.5,  0. ]]))
    """
    e = np.expm1(-np.abs(x))
    y = np.concatenate((x, -x), 1)
    for half in np.split(y, 2, 1):
        np.maximum(half, e, out=half)

    def vjp(dy: Array) -> Array:
        dpositive, dnegative = np.split(dy, 2, 1)
        slope = np.exp(-np.abs(x))  # of the elu whose argument is below 0; the other's is 1
        return np.where(x > 0, dpositive - slope * dnegative, slope * dpositive - dnegative)

    return y, vjp


def gate(x: Array) -> tuple[Array, Vjp]:
    """y = a sigmoid(b), x = [a, b] along axis 1.   x (N, 2 F, ...) -> y (N, F, ...)

    Source: van den Oord et al. (2016), arXiv 1606.05328; Salimans et al. (2017) without their tanh.

    >>> y, vjp = gate(np.array([[2.0, 0.0]]))
    >>> y, vjp(np.array([[1.0]]))
    (array([[1.]]), array([[0.5, 0.5]]))
    """
    a, b = np.split(x, 2, 1)
    s = sigmoid(b)
    return a * s, lambda dy: np.concatenate((dy * s, dy * a * s * (1 - s)), 1)


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

    def _multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        H, W = x.shape[2:]
        whole, y_vjp = conv2d(x, w, b, self.stride, self.padding, input_grad=self._input_grad)
        y = whole[:, :, :H, :W]  # what the padding below and to the right adds is dropped

        def vjp(dy: Array) -> Any:
            dwhole = np.zeros_like(whole)
            dwhole[:, :, :H, :W] = dy
            return y_vjp(dwhole)

        return y, vjp


def output_or_zero(layer: Module | None, x: Array) -> tuple[Any, Vjp]:
    """layer(x), or 0 if the model has no such layer. Any shape."""
    return (0.0, lambda dy: np.zeros_like(x)) if layer is None else layer(x)


class GatedInput(Module):
    """The first layer: v reads the rows above in the image, h the pixels to the left and v.

        v = vertical(image),   h = horizontal(image) + link(v)

    A window of one column has no pixels to the left, so that h = link(v).
    Shapes: image (N, I, H, W) -> v, h (N, F, H, W).
    """

    def __init__(self, in_channels: int, maps: int, reach: Reach, **factory_kwargs: Any) -> None:
        conv: Any = partial(ShiftedConv2d, in_channels, maps, **factory_kwargs)
        up, left, right, before = reach
        self.vertical = conv((up, left + 1 + right), padding=(up, left))
        self.horizontal = conv((1, before), padding=(0, before)) if before else None
        self.link = WNConv2d(maps, maps, 1, **factory_kwargs)

    def forward(self, image: Array) -> tuple[tuple[Array, Array], Vjp]:
        v, vertical_vjp = self.vertical(image)
        link, link_vjp = self.link(v)
        row, row_vjp = output_or_zero(self.horizontal, image)

        def vjp(dv: Array, dh: Array) -> Array:
            return vertical_vjp(dv + link_vjp(dh)) + row_vjp(dh)

        return (v, row + link), vjp


class GatedResidual(Module):
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
        double = 2 * features
        conv: Any = partial(WNConv2d, kernel_size=1, **factory_kwargs)
        self.conv = ShiftedConv2d(double, features, kernel_size, padding=padding, **factory_kwargs)
        self.gates = conv(double, double)
        self.context = conv(context_maps, double) if context_maps else None

    def forward(self, x: Array, maps: Array, link: Array | None) -> tuple[Array, Vjp]:
        e, e_vjp = concat_elu(x)
        c, conv_vjp = self.conv(e)
        e_c, e_c_vjp = concat_elu(c if link is None else c + link)
        gates, gates_vjp = self.gates(e_c)
        context, context_vjp = output_or_zero(self.context, maps)
        y, gate_vjp = gate(gates + context)

        def vjp(dy: Array) -> tuple[Array, Array, Array]:
            dgates = gate_vjp(dy)
            dc = e_c_vjp(gates_vjp(dgates))
            return dy + e_vjp(conv_vjp(dc)), context_vjp(dgates), dc

        return x + y, vjp


class GatedBlock(Module):
    """v' = vertical(v, maps), h' = horizontal(h, maps, link(concat_elu(v')))."""

    def __init__(
        self, features: int, context_maps: int, reach: Reach, **factory_kwargs: Any
    ) -> None:
        block: Any = partial(GatedResidual, features, context_maps, **factory_kwargs)
        up, left, right, before = reach
        self.vertical = block((up + 1, left + 1 + right), (up, left))
        self.link = WNConv2d(2 * features, features, 1, **factory_kwargs)
        self.horizontal = block((1, before + 1), (0, before))

    def forward(self, v: Array, h: Array, maps: Array) -> tuple[tuple[Array, Array], Vjp]:
        v, vertical_vjp = self.vertical(v, maps, None)
        e, e_vjp = concat_elu(v)
        link, link_vjp = self.link(e)
        h, horizontal_vjp = self.horizontal(h, maps, link)

        def vjp(dv: Array, dh: Array) -> tuple[Array, Array, Array]:
            dh, dmaps_h, dlink = horizontal_vjp(dh)
            dv, dmaps_v, _ = vertical_vjp(dv + e_vjp(link_vjp(dlink)))
            return dv, dh, dmaps_v + dmaps_h

        return (v, h), vjp


class GatedPixelCNN(Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in the window, maps).

    The image is scaled to [-1, 1] and gets a channel of ones, which tells a layer where the image
    ends. The maps are inputs of every block.
    """

    def __init__(self, config: VLAEConfig, outputs: int = 1, **factory_kwargs: Any) -> None:
        features, M = config.decoder_maps, config.maps_read
        first, *rest = gated_reaches(config.window_width, config.window_rows, config.decoder_blocks)
        self.channels, self.context_channels = config.channels, config.context_channels
        self.first = GatedInput(channels_read(config) + 1, features, first, **factory_kwargs)
        self.body = Sequential(
            *(GatedBlock(features, M, reach, **factory_kwargs) for reach in rest)
        )
        self.last = Sequential(ELU(), WNConv2d(features, outputs, 1, **factory_kwargs))

    def forward(self, x: Array, maps: Array) -> tuple[Array, Vjp]:
        pixels, pixels_vjp = self.rescale(x)
        (v, h), first_vjp = self.first(pixels)
        block_vjps = []
        for block in self.body:
            (v, h), block_vjp = block(v, h, maps)
            block_vjps.append(block_vjp)
        params, last_vjp = self.last(h)

        def vjp(dparams: Array) -> tuple[Array, Array]:
            dv, dh = 0.0, last_vjp(dparams)  # no layer reads the last v
            dmaps: Any = 0.0
            for block_vjp in reversed(block_vjps):
                dv, dh, dmaps_block = block_vjp(dv, dh)
                dmaps = dmaps + dmaps_block
            return pixels_vjp(first_vjp(dv, dh)), dmaps

        return params, vjp

    def rescale(self, x: Array) -> tuple[Array, Vjp]:
        """2 x - 1 of the channels that the decoder reads, and a channel of ones, along axis 1."""
        image, image_vjp = read_context(x, self.context_channels)
        ones = np.ones_like(image[:, :1])
        pixels = np.concatenate((2 * image - 1, ones), 1)
        return pixels, lambda dpixels: image_vjp(2 * dpixels[:, :-1])
