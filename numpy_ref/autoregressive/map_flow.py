"""Autoregressive flow over maps, by hand.   Right panel: torch_impl/autoregressive/map_flow.py

It is the flow of flow.py with masked convolutions in place of masked linear layers. Codes are flat,
so that it has the same interface.
Shapes: D = C h w dimensions, C maps of h x w pixels; N rows; a layer has I input and O output maps
and a kernel of kH x kW pixels.
Sources: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731; van den Oord et al.,
"Pixel recurrent neural networks" (2016), arXiv 1601.06759; Germain et al. (2015), arXiv 1502.03509.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.map_flow import MAP_WINDOW, MapOrder, map_degrees
from numpy_ref.autoregressive.flow import AffineStep, AutoregressiveFlow, MeanOnlyStep
from numpy_ref.autoregressive.made import invert_made
from numpy_ref.autoregressive.pixel_cnn import MaskedConv2d
from numpy_ref.nn.functional import ReLU
from numpy_ref.nn.module import Array, Sequential, Vjp


class MaskedMapConv2d(MaskedConv2d):
    """Convolution in which maps of one pixel read each other by degree, as in a MADE.

        mask[o, i] = 1 1 1
                     1 d 0    d = out_degrees[o] >= in_degrees[i]
                     0 0 0

    A pixel reads all maps of the pixels before it, here in a kernel of 3 x 3, and those of its own
    maps whose degree is not above that of the output. If `backwards`, the mask is turned by 180
    degrees: a pixel reads those after it.
    Shapes: x (N, I, h, w), weight and mask (O, I, kH, kW), bias (O) -> y (N, O, h, w).
    """

    bias: Any  # never None

    def __init__(
        self,
        in_degrees: Sequence[int],
        out_degrees: Sequence[int],
        backwards: bool = False,
        dtype: DTypeLike = np.float64,
    ) -> None:
        super().__init__(len(in_degrees), len(out_degrees), MAP_WINDOW, "B", dtype=dtype)
        before, itself = (np.array(MAP_WINDOW.mask(kind)) for kind in ("A", "B"))
        itself = itself & ~before
        before = before[::-1, ::-1] if backwards else before
        readable = np.array(out_degrees)[:, None] >= np.array(in_degrees)
        self.mask = before | (itself & readable[:, :, None, None])


class MapMADE(Sequential):
    """Masked convolutions and ReLUs in turn; output i reads the dimensions before i in `order`.

        y_i = (W_L * relu(... relu(W_1 * z_<i + b_1)) + b_L)_i

    i stands for a map and a pixel, and z_<i for those within reach of the kernels. Within a pixel
    the maps read each other by degree as in a MADE (see map_degrees); of the pixels before, they
    read all maps. As in every stack of such kernels there is a blind spot to the upper right, for
    the reverse order to the lower left.
    Shapes: z (..., D) -> y (..., D), or (..., 2 D) if outputs = 2: first outputs, then second.
    Source: own design, a PixelCNN whose 1 x 1 part is a MADE.
    Raises: ValueError as model_specs' map_degrees.
    """

    def __init__(
        self,
        order: MapOrder,
        hidden_dim: int,
        hidden_layers: int,
        outputs: int = 1,
        dtype: DTypeLike = np.float64,
    ) -> None:
        degrees = map_degrees(order, hidden_dim, hidden_layers, outputs)
        *hidden, last = [
            MaskedMapConv2d(*pair, order.backwards, dtype=dtype) for pair in pairwise(degrees)
        ]
        super().__init__(*(part for layer in hidden for part in (layer, ReLU())), last)
        self._order, self._hidden_degrees = order, degrees[1]

    def forward(self, z: Array) -> tuple[Array, Vjp]:
        y, y_vjp = super().forward(z.reshape(-1, *self._order.shape))

        def vjp(dy: Array) -> Array:
            return y_vjp(dy.reshape(y.shape)).reshape(z.shape)

        return y.reshape(*z.shape[:-1], -1), vjp

    def invert(self, eps: Array, dimension: Callable[..., Array]) -> Array:
        """The z for which z_i = dimension(eps_i, *y_i(z_<i)), one dimension at a time; value only.

        Derivation of the inverse in one pass. The part of a layer's sum over other pixels,

            past[o] = b[o] + sum_it  W[o, i, t] x[i, pixel + t],    t the taps other than the middle

        reads pixels before this one alone, whose values are final. With `past` as the bias, the
        taps in the middle form a MADE over the C maps of the pixel, and MADE.invert gives z at the
        pixel and its hidden units, which later pixels read. Every unmasked weight is multiplied
        once at each pixel, so that the inverse costs one forward pass.

        Shapes: eps (..., D) -> z (..., D); inside, units come before rows: (C, N) at a pixel.
        """
        layers = [layer for layer in self if isinstance(layer, MaskedMapConv2d)]
        order = np.array(self._order.of_channels)
        kH, kW = MAP_WINDOW.kernel_size
        up, left = kH // 2, kW // 2
        middle = [layer.weight.data[:, :, up, left] for layer in layers]
        middle[0] = middle[0][:, order]
        taps = self._order.taps
        past = [np.hstack([layer.weight.data[:, :, i, j] for i, j in taps]) for layer in layers]
        targets = eps.reshape(-1, *self._order.shape).transpose(2, 3, 1, 0)[:, :, order]
        h, w, _, N = targets.shape
        inputs = [
            np.zeros((h + kH - 1, w + kW - 1, layer.in_channels, N), eps.dtype) for layer in layers
        ]

        for i, j in self._order.of_pixels:
            biases = [
                weight @ np.vstack([x[i + r, j + s] for r, s in taps]) + layer.bias.data[:, None]
                for weight, x, layer in zip(past, inputs, layers, strict=True)
            ]
            z, hidden = invert_made(
                targets[i, j],
                self._order.of_channels,
                self._hidden_degrees,
                middle,
                biases,
                dimension,
            )
            for x, value in zip(inputs, (z[order], *hidden), strict=True):  # order: its own inverse
                x[i + up, j + left] = value

        z = inputs[0][up : up + h, left : left + w]
        return z.transpose(3, 2, 0, 1).reshape(eps.shape)


class MapMeanOnlyStep(MeanOnlyStep):
    """`MeanOnlyStep` over maps.   Shapes: z, eps (..., D), logdet (...)."""

    network = MapMADE


class MapAffineStep(AffineStep):
    """`AffineStep` over maps.   Shapes: z, eps (..., D), logdet (...)."""

    network = MapMADE


class MapFlow(AutoregressiveFlow):
    """`AutoregressiveFlow` over maps, whose steps are masked convolutions, with a MapFlowConfig.

    Order: pixels in raster order, and the maps of each pixel in turn; see MapOrder.
    Shapes: z, eps (..., D), D = C h w in the order (C, h, w); logdet (...).
    Units: nats, summed over dimensions.
    Source: Chen et al. 2016, section 4.3. Where we differ: the convolutions are not
    weight-normalised, as in flow.py.
    """

    mean_only_step, affine_step = MapMeanOnlyStep, MapAffineStep
