"""p(x|maps) pixel by pixel without a blind spot, of two stacks.

Shapes: x (N, 1, H, W) of {0, 1}, maps (N, M, H, W) -> logits (N, 1, H, W); v and h (N, C, H, W).
Right panel: torch_impl/autoregressive/stacked_pixel_cnn.py
Sources: van den Oord et al., "Conditional image generation with PixelCNN decoders" (2016), arXiv
1606.05328; Chen et al. (2016), arXiv 1611.02731.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from model_specs.vlae import KERNEL_SIZE, VLAEConfig, layout
from numpy_ref.autoregressive.ancestral import At, Memory, RowMemory, pixelwise
from numpy_ref.autoregressive.resnet import flat
from numpy_ref.autoregressive.stacked_conv import WNStackedConv2d
from numpy_ref.nn.functional import elu, sigmoid
from numpy_ref.nn.layers import ELU
from numpy_ref.nn.module import Array, Module, Sequential, Vjp
from numpy_ref.nn.weight_norm import WNConv2d


class StackedResidual(Module):
    """v + v', h + h' with v', h' = layer(elu(v), elu(h))."""

    def __init__(self, layer: WNStackedConv2d) -> None:
        self.layer = layer

    def forward(self, v: Array, h: Array) -> tuple[tuple[Array, Array], Vjp]:
        a, a_vjp = elu(v)
        b, b_vjp = elu(h)
        (dv, dh), vjp = self.layer(a, b)

        def backward(dv: Array, dh: Array) -> tuple[Array, Array]:
            da, db = vjp(dv, dh)
            return dv + a_vjp(da), dh + b_vjp(db)

        return (v + dv, h + dh), backward

    def walk(self, count: int, height: int, width: int) -> StackedWalk:
        """The block row by row and pixel by pixel."""
        return StackedWalk(self.layer, count, height, width)


class HorizontalBlock(Module):
    """v, block(h): a 1 x 1 block between the layers of two stacks."""

    def __init__(self, block: Module) -> None:
        self.block = block

    def forward(self, v: Array, h: Array) -> tuple[tuple[Array, Array], Vjp]:
        h, vjp = self.block(h)
        return (v, h), lambda dv, dh: (dv, vjp(dh))

    def walk(self, count: int, height: int, width: int) -> HorizontalWalk:
        """The block row by row and pixel by pixel."""
        return HorizontalWalk(pixelwise(self.block, count, height, width))


class StackedWalk:
    """A StackedResidual in raster order: `row` once a row, then `at` for each of its pixels.

    Shapes: row (N, C, W) -> (N, C, W), the v of row i; at (N, C) -> (N, C), the h of pixel (i, j).
    """

    def __init__(self, layer: WNStackedConv2d, count: int, height: int, width: int) -> None:
        self._rows = RowMemory(layer, count, height, width)
        self._horizontal = pixelwise(layer.horizontal, count, height, width)

    def row(self, v: Array, i: int) -> Array:
        self._rows.write(elu(v)[0], i)
        dv, self._link = self._rows.read(i)
        return v + dv

    def at(self, h: Array, i: int, j: int) -> Array:
        return h + self._horizontal(elu(h)[0], i, j) + self._link[:, :, j]


class HorizontalWalk:
    """A HorizontalBlock in raster order; shapes as in StackedWalk."""

    def __init__(self, at: At) -> None:
        self.at = at

    def row(self, v: Array, i: int) -> Array:
        return v


class StackedPixelCNN(Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in reach, maps around i)."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        C = config.decoder_maps
        M = 0 if config.latent == "none" else config.context_maps
        self.first = WNStackedConv2d(1 + M, C, KERNEL_SIZE, "A", M, **factory_kwargs)
        self.body = Sequential(
            *layout(
                config,
                lambda: StackedResidual(WNStackedConv2d(C, C, KERNEL_SIZE, "B", **factory_kwargs)),
                lambda: HorizontalBlock(flat(C, 1, **factory_kwargs)),
            )
        )
        self.last = Sequential(ELU(), WNConv2d(C, 1, 1, **factory_kwargs))

    def forward(self, x: Array, maps: Array) -> tuple[Array, Vjp]:
        image = np.concatenate((x, maps), 1)
        (v, h), first_vjp = self.first(image, image)
        vjps = []
        for block in self.body:
            (v, h), block_vjp = block(v, h)
            vjps.append(block_vjp)
        logits, last_vjp = self.last(h)

        def vjp(dlogits: Array) -> tuple[Array, Array]:
            dv, dh = 0.0, last_vjp(dlogits)  # nobody reads the last v
            for block_vjp in reversed(vjps):
                dv, dh = block_vjp(dv, dh)
            dimage = sum(first_vjp(dv, dh))
            return dimage[:, :1], dimage[:, 1:]

        return logits, vjp

    def sample(
        self, maps: Array, u: Array, progress: Callable[[int], None] | None = None
    ) -> tuple[Array, Array]:
        """x_i = u_i < p_i, one pixel after the other, and p; value only.

        A row of v needs the rows above it alone, so it is computed whole before its first pixel; h
        goes pixel by pixel. `progress` is called with the pixels done, row by row.
        Shapes: maps (N, M, H, W), uniform u (N, 1, H, W) -> x, p (N, 1, H, W).
        """
        N, _, H, W = u.shape
        p, x = np.empty_like(u), np.zeros_like(u)
        image = np.concatenate((x, maps), 1)
        given, _ = self.first.horizontal(image)  # all but what the pixels add
        rows, seen = RowMemory(self.first, N, H, W), Memory(self.first.horizontal, N, H, W, 1)
        blocks = [block.walk(N, H, W) for block in self.body]
        last = pixelwise(self.last, N, H, W)
        for i in range(H):
            v, link = rows.read(i)
            for block in blocks:
                v = block.row(v, i)
            for j in range(W):
                h = given[:, :, i, j] + seen.read(i, j) + link[:, :, j]
                for block in blocks:
                    h = block.at(h, i, j)
                p[:, :, i, j] = sigmoid(last(h, i, j))
                x[:, :, i, j] = u[:, :, i, j] < p[:, :, i, j]
                seen.write(x[:, :, i, j], i, j)
            rows.write(np.concatenate((x[:, :, i], maps[:, :, i]), 1), i)
            if progress:
                progress(W)
        return x, p
