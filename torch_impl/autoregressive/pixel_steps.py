"""Layers of a pixel decoder as functions of one pixel, for ancestral sampling, with their caches.

Each masked convolution keeps its input pixels in a cache, and one step of a layer computes one
output pixel:

    step = pixel_step(layer, N, H, W);   y[:, :, i, j] = step(x[:, :, i, j], i, j)

for all pixels (i, j) in raster order gives layer(x). Call under torch.no_grad.
Shapes: at one pixel, features are (N, C): N images of H x W pixels, C channels in and O channels
out.
Source: own design.
Left panel: numpy_ref/autoregressive/pixel_steps.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import torch.nn.functional as F
from torch import Tensor, nn

from torch_impl.autoregressive.pixel_cnn import WNMaskedConv2d
from torch_impl.autoregressive.resnet import Residual
from torch_impl.autoregressive.stacked_pixel_cnn import (
    HorizontalBlock,
    StackedResidual,
    WNStackedConv2d,
)
from torch_impl.nn.weight_norm import WNConv2d

PixelStep = Callable[[Tensor, int, int], Tensor]


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
