"""p(x|maps) pixel by pixel without a blind spot, of two stacks.

Shapes: x (N, 1, H, W) of {0, 1}, maps (N, M, H, W) -> logits (N, 1, H, W); v and h (N, C, H, W).
Left panel: numpy_ref/autoregressive/stacked_pixel_cnn.py
Sources: van den Oord et al., "Conditional image generation with PixelCNN decoders" (2016), arXiv
1606.05328; Chen et al. (2016), arXiv 1611.02731.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_specs.vlae import KERNEL_SIZE, VLAEConfig, layout
from torch_impl.autoregressive.ancestral import At, Memory, RowMemory, pixelwise
from torch_impl.autoregressive.resnet import flat
from torch_impl.autoregressive.stacked_conv import WNStackedConv2d
from torch_impl.nn.weight_norm import WNConv2d


class StackedResidual(nn.Module):
    """v + v', h + h' with v', h' = layer(elu(v), elu(h))."""

    def __init__(self, layer: WNStackedConv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        dv, dh = self.layer(F.elu(v), F.elu(h))
        return v + dv, h + dh

    def walk(self, count: int, height: int, width: int) -> StackedWalk:
        """The block row by row and pixel by pixel."""
        return StackedWalk(self.layer, count, height, width)


class HorizontalBlock(nn.Module):
    """v, block(h): a 1 x 1 block between the layers of two stacks."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return v, self.block(h)

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

    def row(self, v: Tensor, i: int) -> Tensor:
        self._rows.write(F.elu(v), i)
        dv, self._link = self._rows.read(i)
        return v + dv

    def at(self, h: Tensor, i: int, j: int) -> Tensor:
        return h + self._horizontal(F.elu(h), i, j) + self._link[:, :, j]


class HorizontalWalk:
    """A HorizontalBlock in raster order; shapes as in StackedWalk."""

    def __init__(self, at: At) -> None:
        self.at = at

    def row(self, v: Tensor, i: int) -> Tensor:
        return v


class StackedPixelCNN(nn.Module):
    """p(x|maps) = prod_i p(x_i | pixels before i in reach, maps around i)."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        C = config.decoder_maps
        M = 0 if config.latent == "none" else config.context_maps
        self.first = WNStackedConv2d(1 + M, C, KERNEL_SIZE, "A", M, **factory_kwargs)
        self.body: Any = nn.Sequential(
            *layout(
                config,
                lambda: StackedResidual(WNStackedConv2d(C, C, KERNEL_SIZE, "B", **factory_kwargs)),
                lambda: HorizontalBlock(flat(C, 1, **factory_kwargs)),
            )
        )
        self.last = nn.Sequential(nn.ELU(), WNConv2d(C, 1, 1, **factory_kwargs))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        image = torch.cat((x, maps), 1)
        v, h = self.first(image, image)
        for block in self.body:
            v, h = block(v, h)
        return self.last(h)

    @torch.no_grad()
    def sample(
        self, maps: Tensor, u: Tensor, progress: Callable[[int], None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """x_i = u_i < p_i, one pixel after the other, and p.

        A row of v needs the rows above it alone, so it is computed whole before its first pixel; h
        goes pixel by pixel. `progress` is called with the pixels done, row by row.
        Shapes: maps (N, M, H, W), uniform u (N, 1, H, W) -> x, p (N, 1, H, W).
        """
        N, _, H, W = u.shape
        p, x = torch.empty_like(u), torch.zeros_like(u)
        image = torch.cat((x, maps), 1)
        given = self.first.horizontal(image)  # all but what the pixels add
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
                p[:, :, i, j] = torch.sigmoid(last(h, i, j))
                x[:, :, i, j] = (u[:, :, i, j] < p[:, :, i, j]).to(x.dtype)
                seen.write(x[:, :, i, j], i, j)
            rows.write(torch.cat((x[:, :, i], maps[:, :, i]), 1), i)
            if progress:
                progress(W)
        return x, p
