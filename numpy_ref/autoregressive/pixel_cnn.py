"""PixelCNN: masked convolution, and two decoders p(x|maps) of images, by hand.

`stacked_pixel_cnn` and `gated_pixel_cnn` have decoders without a blind spot, `ancestral` draws
images from all of them.

Shapes: x (N, C, H, W) in [0, 1], maps (N, M, H, W) -> params (N, P, H, W): N images of H x W
pixels and C channels, M context maps, P parameters of the distribution of a pixel, such as its
logit; a layer has I input and O output channels and a kernel of kH x kW pixels.
Right panel: torch_impl/autoregressive/pixel_cnn.py
Sources: van den Oord et al., "Pixel recurrent neural networks" (2016), arXiv 1601.06759; Chen et
al. (2016), arXiv 1611.02731.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.pixel_layers import LUMA, channels_read, layout
from model_specs.autoregressive.windows import Window, channel_masks
from model_specs.vlae import VLAEConfig
from numpy_ref.autoregressive.resnet import Residual, flat_block
from numpy_ref.nn.convolution import Conv2d, conv2d
from numpy_ref.nn.functional import ELU, weight_norm
from numpy_ref.nn.module import Array, Module, Sequential, Vjp
from numpy_ref.nn.weight_norm import WeightNorm, WNConv2d


class MaskedConv2d(Conv2d):
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
    Shapes: x (N, I, H, W), weight (O, I, kH, kW), mask (I, kH, kW) bool, bias (O)
    -> y (N, O, H, W).
    `input_grad=False` is for a layer that reads data: the vjp returns None for dx.
    Raises: ValueError for an empty window, or one of type A that includes the pixel itself; for
    free_channels outside [0, I); for an x of wrong shape or dtype.
    Source: van den Oord et al. (2016), arXiv 1601.06759, section 3.4. Where we differ: the channels
    of a pixel do not read each other in type A, and all read each other in type B.
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
        masks = channel_masks(window, mask_type, in_channels, free_channels)
        kH, kW = window.kernel_size
        geometry = (kH, kW), 1, (kH // 2, kW // 2)
        super().__init__(
            in_channels, out_channels, *geometry, bias=bias, dtype=dtype, input_grad=input_grad
        )
        self.mask = np.array(masks)

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
        masks = channel_masks(window, mask_type, in_channels, free_channels)
        kH, kW = window.kernel_size
        super().__init__(out_channels, in_channels, kH, kW, **options)
        self.in_channels, self.padding = in_channels, (kH // 2, kW // 2)
        self.mask = np.array(masks)

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


def luma(x: Array) -> tuple[Array, Vjp]:
    """y = 0.299 R + 0.587 G + 0.114 B: the grey of a colour.   x (N, 3, ...) -> y (N, 1, ...)

    >>> y, vjp = luma(np.array([[1.0, 0.0, 1.0]]))
    >>> y, vjp(np.array([[10.0]]))
    (array([[0.413]]), array([[2.99, 5.87, 1.14]]))
    """
    y = LUMA[0] * x[:, :1] + LUMA[1] * x[:, 1:2] + LUMA[2] * x[:, 2:]
    return y, lambda dy: np.concatenate([weight * dy for weight in LUMA], 1)


def read_context(x: Array, context_channels: str) -> tuple[Array, Vjp]:
    """The channels of the image that a decoder reads: the luma for "grey", otherwise x."""
    return luma(x) if context_channels == "grey" and x.shape[1] == 3 else (x, lambda dy: dy)


class FactorisedDecoder(Module):
    """p(x|maps) = prod_i p(x_i|maps at i), computed by 1 x 1 layers, which read no pixel of x."""

    def __init__(self, config: VLAEConfig, outputs: int = 1, **factory_kwargs: Any) -> None:
        C = config.decoder_maps
        conv: Any = partial(WNConv2d, **factory_kwargs)
        self.channels = config.channels
        self.first = conv(config.context_maps, C, 1)
        self.body = _body(config, **factory_kwargs)
        self.last = Sequential(ELU(), conv(C, outputs, 1))

    def forward(self, x: Array, maps: Array) -> tuple[Array, Vjp]:
        h, first_vjp = self.first(maps)
        h, body_vjp = self.body(h)
        params, last_vjp = self.last(h)

        def vjp(dparams: Array) -> tuple[Array, Array]:
            return np.zeros_like(x), first_vjp(body_vjp(last_vjp(dparams)))

        return params, vjp


class PixelCNN(Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in the receptive field, maps around i).

    Image and maps are the channels of one convolution of mask type A, in which the maps are free
    channels; residual blocks of type B and of 1 x 1 follow.
    """

    def __init__(self, config: VLAEConfig, outputs: int = 1, **factory_kwargs: Any) -> None:
        C, M = config.decoder_maps, config.maps_read
        self.channels, self.context_channels = config.channels, config.context_channels
        self.first = WNMaskedConv2d(
            channels_read(config) + M, C, config.window, "A", M, **factory_kwargs
        )
        self.body = _body(config, **factory_kwargs)
        self.last = Sequential(ELU(), WNConv2d(C, outputs, 1, **factory_kwargs))

    def forward(self, x: Array, maps: Array) -> tuple[Array, Vjp]:
        image, image_vjp = read_context(x, self.context_channels)
        h, first_vjp = self.first(np.concatenate((image, maps), 1))
        h, body_vjp = self.body(h)
        params, last_vjp = self.last(h)

        def vjp(dparams: Array) -> tuple[Array, Array]:
            dchannels = first_vjp(body_vjp(last_vjp(dparams)))
            dimage, dmaps = np.split(dchannels, [image.shape[1]], 1)
            return image_vjp(dimage), dmaps

        return params, vjp


def _body(config: VLAEConfig, **factory_kwargs: Any) -> Sequential:
    """The residual blocks between the first and the last layer."""
    C, window = config.decoder_maps, config.inner_window
    masked_conv: Any = partial(WNMaskedConv2d, C, C, window, "B", **factory_kwargs)
    return Sequential(
        *layout(
            config,
            masked=lambda: Residual(ELU(), masked_conv()),
            pointwise=lambda: flat_block(C, 1, **factory_kwargs),
        )
    )
