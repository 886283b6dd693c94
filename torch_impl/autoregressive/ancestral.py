"""Ancestral sampling: pixels are drawn one after the other, each from p(x_i | pixels before i).

    x_i = u_i < p_i,   p_i = p(x_i = 1 | x_1 ... x_{i-1}, maps),   u uniform

A full forward pass per pixel would compute every earlier pixel anew. Here each masked convolution
keeps its input pixels in a cache, and one step of a layer computes one output pixel, so that an
image costs one forward pass:

    step = pixel_step(layer, N, H, W);   y[:, :, i, j] = step(x[:, :, i, j], i, j)

for all pixels (i, j) in raster order gives layer(x). Call under torch.no_grad.
Shapes: at one pixel, features are (N, C): N images of H x W pixels, C channels in and O channels
out, M context maps.
Source: own design; the decoders are those of van den Oord et al. (2016).
Left panel: numpy_ref/autoregressive/ancestral.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_impl.autoregressive.pixel_cnn import FactorisedDecoder, PixelCNN, WNMaskedConv2d
from torch_impl.autoregressive.resnet import Residual
from torch_impl.autoregressive.stacked_pixel_cnn import (
    HorizontalBlock,
    StackedPixelCNN,
    StackedResidual,
    WNStackedConv2d,
)
from torch_impl.nn.weight_norm import WNConv2d

PixelStep = Callable[[Tensor, int, int], Tensor]
Progress = Callable[[int], None]


class PixelCache:
    """The input pixels stored so far of a masked convolution, and its output at one pixel.

        y[n, o, i, j] = sum_ct  m[c, t] w[o, c, t] x[n, c, (i, j) + t]

    over the taps t of the kernel, with the layer's mask m, without the bias. `channels` limits the
    sum to the first input channels.
    """

    def __init__(
        self,
        layer: WNMaskedConv2d,
        count: int,
        height: int,
        width: int,
        channels: int | None = None,
    ) -> None:
        weight = layer.weight()[:, :channels]
        self._rows, self._columns = layer.taps
        taps = weight[:, :, self._rows, self._columns]  # (O, C, T)
        self._taps = taps.permute(2, 1, 0).reshape(-1, len(weight))
        kH, kW = weight.shape[2:]
        self._up, self._left = kH // 2, kW // 2
        padded = count, height + kH - 1, width + kW - 1, weight.shape[1]
        self._pixels = weight.new_zeros(padded)

    def store(self, x: Tensor, i: int, j: int) -> None:
        """Store x (N, C) as input pixel (i, j)."""
        self._pixels[:, i + self._up, j + self._left] = x

    def convolve(self, i: int, j: int) -> Tensor:
        """Output pixel (i, j), from the pixels stored so far.   -> (N, O)"""
        neighbours = self._pixels[:, i + self._rows, j + self._columns]
        return neighbours.reshape(len(neighbours), -1) @ self._taps


class RowCache:
    """The input rows stored so far of a vertical stack, and its output in one row.

    The vertical convolution of row i reads rows up to i, or i - 1 for mask type A.
    """

    def __init__(self, layer: WNStackedConv2d, count: int, height: int, width: int) -> None:
        self._weight, self._bias = layer.vertical.weight(), layer.vertical.bias
        self._link = layer.link.weight()[:, :, 0, 0]
        self._up, self._side = layer.vertical.padding
        padded = count, self._weight.shape[1], height + self._up, width
        self._rows = self._weight.new_zeros(padded)

    def store(self, v: Tensor, i: int) -> None:
        """Store v (N, C, W) as input row i."""
        self._rows[:, :, i + self._up] = v

    def convolve(self, i: int) -> tuple[Tensor, Tensor]:
        """Row i of v', and of the link to h', u v'.   -> (N, O, W) each"""
        neighbours = self._rows[:, :, i : i + self._weight.shape[2]]
        y = F.conv2d(neighbours, self._weight, self._bias, padding=(0, self._side))
        return y[:, :, 0], self._link @ y[:, :, 0]


@singledispatch
def pixel_step(layer: nn.Module, count: int, height: int, width: int) -> PixelStep:
    """The layer as a function of one pixel's features, with its cache for `count` images.

    Raises: TypeError for a layer that cannot run pixel by pixel.
    """
    raise TypeError(f"layer: got {type(layer).__name__}, takes one that can run pixel by pixel")


@pixel_step.register
def _(layer: nn.Sequential, count: int, height: int, width: int) -> PixelStep:
    steps = [pixel_step(part, count, height, width) for part in layer]

    def step(x: Tensor, i: int, j: int) -> Tensor:
        for part in steps:
            x = part(x, i, j)
        return x

    return step


@pixel_step.register
def _(layer: Residual, count: int, height: int, width: int) -> PixelStep:
    branch = pixel_step(layer.branch, count, height, width)
    return lambda x, i, j: x + branch(x, i, j)


@pixel_step.register
def _(layer: nn.ELU, count: int, height: int, width: int) -> PixelStep:
    return lambda x, i, j: F.elu(x)


@pixel_step.register
def _(layer: WNConv2d, count: int, height: int, width: int) -> PixelStep:
    weight = layer.weight()[:, :, 0, 0].T  # of a 1 x 1 kernel
    return lambda x, i, j: x @ weight + layer.bias


@pixel_step.register
def _(layer: WNMaskedConv2d, count: int, height: int, width: int) -> PixelStep:
    cache = PixelCache(layer, count, height, width)

    def step(x: Tensor, i: int, j: int) -> Tensor:
        cache.store(x, i, j)
        return cache.convolve(i, j) + layer.bias

    return step


class StackedResidualSteps:
    """A StackedResidual in raster order: `step_row` once a row, `step` for each of its pixels.

    Shapes: step_row (N, C, W) -> (N, C, W), row i of v; step (N, C) -> (N, C), pixel (i, j) of h.
    """

    def __init__(self, block: StackedResidual, count: int, height: int, width: int) -> None:
        self._cache = RowCache(block.layer, count, height, width)
        self._horizontal = pixel_step(block.layer.horizontal, count, height, width)

    def step_row(self, v: Tensor, i: int) -> Tensor:
        self._cache.store(F.elu(v), i)
        branch, self._link = self._cache.convolve(i)
        return v + branch

    def step(self, h: Tensor, i: int, j: int) -> Tensor:
        return h + self._horizontal(F.elu(h), i, j) + self._link[:, :, j]


class HorizontalBlockSteps:
    """A HorizontalBlock in raster order; shapes as in StackedResidualSteps."""

    def __init__(self, block: HorizontalBlock, count: int, height: int, width: int) -> None:
        self.step = pixel_step(block.block, count, height, width)

    def step_row(self, v: Tensor, i: int) -> Tensor:
        return v


@singledispatch
def sample_pixels(
    decoder: nn.Module, maps: Tensor, u: Tensor, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """Binary images x ~ p(x|maps) of a pixel decoder, and the probability p of each pixel.

    `progress` is called after each row with the number of its pixels.
    Shapes: maps (N, M, H, W), uniform u (N, 1, H, W) -> x, p (N, 1, H, W).
    """
    raise TypeError(f"decoder: got {type(decoder).__name__}, takes a decoder of pixels")


@sample_pixels.register
def _(
    decoder: FactorisedDecoder, maps: Tensor, u: Tensor, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    p = torch.sigmoid(decoder(u, maps))  # no pixel depends on another: all are drawn at once
    if progress:
        progress(u[0].numel())
    return (u < p).to(p.dtype), p


@sample_pixels.register
def _(
    decoder: PixelCNN, maps: Tensor, u: Tensor, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    N, _, H, W = u.shape
    p, x = torch.empty_like(u), torch.zeros_like(u)
    context = decoder.first(torch.cat((x, maps), 1))  # on x = 0: maps and bias
    first = PixelCache(decoder.first, N, H, W, channels=1)
    layers = [pixel_step(part, N, H, W) for part in (decoder.body, decoder.last)]
    for i in range(H):
        for j in range(W):
            h = context[:, :, i, j] + first.convolve(i, j)
            for step in layers:
                h = step(h, i, j)
            p[:, :, i, j] = torch.sigmoid(h)
            x[:, :, i, j] = (u[:, :, i, j] < p[:, :, i, j]).to(x.dtype)
            first.store(x[:, :, i, j], i, j)
        if progress:
            progress(W)
    return x, p


@sample_pixels.register
def _(
    decoder: StackedPixelCNN, maps: Tensor, u: Tensor, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """Compute row i of v whole, as it reads rows before i alone, then row i of h by pixels."""
    N, _, H, W = u.shape
    p, x = torch.empty_like(u), torch.zeros_like(u)
    horizontal = decoder.first.horizontal
    context = horizontal(torch.cat((x, maps), 1))  # the first layer on x = 0: maps and bias
    rows, first = RowCache(decoder.first, N, H, W), PixelCache(horizontal, N, H, W, channels=1)
    steps: dict[type, Any] = {
        StackedResidual: StackedResidualSteps,
        HorizontalBlock: HorizontalBlockSteps,
    }
    blocks = [steps[type(block)](block, N, H, W) for block in decoder.body]
    last = pixel_step(decoder.last, N, H, W)
    for i in range(H):
        v, link = rows.convolve(i)
        for block in blocks:
            v = block.step_row(v, i)
        for j in range(W):
            h = context[:, :, i, j] + first.convolve(i, j) + link[:, :, j]
            for block in blocks:
                h = block.step(h, i, j)
            p[:, :, i, j] = torch.sigmoid(last(h, i, j))
            x[:, :, i, j] = (u[:, :, i, j] < p[:, :, i, j]).to(x.dtype)
            first.store(x[:, :, i, j], i, j)
        rows.store(torch.cat((x[:, :, i], maps[:, :, i]), 1), i)
        if progress:
            progress(W)
    return x, p
