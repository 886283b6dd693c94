"""p(x|maps) pixel by pixel: decoders that see the pixels before a pixel, and one that does not.

Shapes: x (N, 1, H, W) of {0, 1}, maps (N, M, H, W) -> logits (N, 1, H, W).
Right panel: torch_impl/autoregressive/pixel_cnn.py
Sources: van den Oord et al., "Pixel recurrent neural networks" (2016), arXiv 1601.06759; Chen et
al. (2016), arXiv 1611.02731.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from model_specs.vlae import VLAEConfig, layout
from numpy_ref.autoregressive.ancestral import Memory, pixelwise
from numpy_ref.autoregressive.masked_conv import WNMaskedConv2d
from numpy_ref.autoregressive.resnet import Residual, flat
from numpy_ref.autoregressive.stacked_pixel_cnn import StackedPixelCNN
from numpy_ref.nn.functional import sigmoid
from numpy_ref.nn.layers import ELU
from numpy_ref.nn.module import Array, Module, Sequential, Vjp
from numpy_ref.nn.weight_norm import WNConv2d

Progress = Callable[[int], None]


def body(config: VLAEConfig, **factory_kwargs: Any) -> Sequential:
    """The residual blocks after the first layer."""
    C, window = config.decoder_maps, config.inner_window
    blocks = layout(
        config,
        lambda: Residual(ELU(), WNMaskedConv2d(C, C, window, "B", **factory_kwargs)),
        lambda: flat(C, 1, **factory_kwargs),
    )
    return Sequential(*blocks)


class FactorisedDecoder(Module):
    """p(x|maps) = prod_i p(x_i|maps at i): 1 x 1 layers, blind to all pixels."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        C = config.decoder_maps
        self.first = WNConv2d(config.context_maps, C, 1, **factory_kwargs)
        self.body = body(config, **factory_kwargs)
        self.last = Sequential(ELU(), WNConv2d(C, 1, 1, **factory_kwargs))

    def forward(self, x: Array, maps: Array) -> tuple[Array, Vjp]:
        h, first_vjp = self.first(maps)
        h, body_vjp = self.body(h)
        logits, last_vjp = self.last(h)

        def vjp(dlogits: Array) -> tuple[Array, Array]:
            return np.zeros_like(x), first_vjp(body_vjp(last_vjp(dlogits)))

        return logits, vjp

    def sample(
        self, maps: Array, u: Array, progress: Progress | None = None
    ) -> tuple[Array, Array]:
        """x = u < p, and p; value only.   maps (N, M, H, W), uniform u (N, 1, H, W)"""
        p = sigmoid(self(u, maps)[0])
        if progress:
            progress(u[0].size)
        return (u < p).astype(p.dtype), p


class PixelCNN(Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in reach, maps around i).

    Image and maps are the channels of one convolution of mask type A, which sees all of the maps;
    residual blocks of type B and of 1 x 1 follow.
    """

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        C = config.decoder_maps
        M = 0 if config.latent == "none" else config.context_maps
        self.first = WNMaskedConv2d(1 + M, C, config.window, "A", M, **factory_kwargs)
        self.body = body(config, **factory_kwargs)
        self.last = Sequential(ELU(), WNConv2d(C, 1, 1, **factory_kwargs))

    def forward(self, x: Array, maps: Array) -> tuple[Array, Vjp]:
        h, first_vjp = self.first(np.concatenate((x, maps), 1))
        h, body_vjp = self.body(h)
        logits, last_vjp = self.last(h)

        def vjp(dlogits: Array) -> tuple[Array, Array]:
            dchannels = first_vjp(body_vjp(last_vjp(dlogits)))
            return dchannels[:, :1], dchannels[:, 1:]

        return logits, vjp

    def sample(
        self, maps: Array, u: Array, progress: Progress | None = None
    ) -> tuple[Array, Array]:
        """x_i = u_i < p_i, one pixel after the other, and p; value only.

        Every layer keeps what it was given, so that a pixel costs what one pixel of a forward pass
        costs. `progress` is called with the pixels done, row by row.
        Shapes: maps (N, M, H, W), uniform u (N, 1, H, W) -> x, p (N, 1, H, W).
        """
        N, _, H, W = u.shape
        p, x = np.empty_like(u), np.zeros_like(u)
        given, _ = self.first(np.concatenate((x, maps), 1))  # all but what the pixels add
        seen = Memory(self.first, N, H, W, channels=1)
        rest = [pixelwise(part, N, H, W) for part in (self.body, self.last)]
        for i in range(H):
            for j in range(W):
                h = given[:, :, i, j] + seen.read(i, j)
                for part in rest:
                    h = part(h, i, j)
                p[:, :, i, j] = sigmoid(h)
                x[:, :, i, j] = u[:, :, i, j] < p[:, :, i, j]
                seen.write(x[:, :, i, j], i, j)
            if progress:
                progress(W)
        return x, p


def make_decoder(
    config: VLAEConfig, **factory_kwargs: Any
) -> FactorisedDecoder | PixelCNN | StackedPixelCNN:
    """What `config.context` names."""
    made: Any = {"none": FactorisedDecoder, "stacks": StackedPixelCNN}.get(config.context, PixelCNN)
    return made(config, **factory_kwargs)
