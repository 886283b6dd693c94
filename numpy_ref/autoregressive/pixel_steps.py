"""Layers of a pixel decoder as functions of one pixel, for ancestral sampling, with their caches.

Each masked convolution keeps its input pixels in a cache, and one step of a layer computes one
output pixel:

    step = pixel_step(layer, N, H, W);   y[:, :, i, j] = step(x[:, :, i, j], i, j)

for all pixels (i, j) in raster order gives layer(x). Values only, no gradients.
Shapes: at one pixel, features are (N, C): N images of H x W pixels, C channels in and O channels
out.
Source: own design.
Right panel: torch_impl/autoregressive/pixel_steps.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np

from numpy_ref.autoregressive.pixel_cnn import WNMaskedConv2d
from numpy_ref.autoregressive.resnet import Residual
from numpy_ref.autoregressive.stacked_pixel_cnn import (
    HorizontalBlock,
    StackedResidual,
    WNStackedConv2d,
)
from numpy_ref.nn.convolution import conv2d
from numpy_ref.nn.functional import ELU, elu
from numpy_ref.nn.module import Array, Module, Sequential
from numpy_ref.nn.weight_norm import WNConv2d

PixelStep = Callable[[Array, int, int], Array]


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
        weight = layer.weight()[0][:, :channels]
        mask = layer.mask[0]
        self._rows, self._columns = np.nonzero(mask)
        taps = weight[:, :, self._rows, self._columns]  # (O, C, T)
        self._taps = np.ascontiguousarray(taps.transpose(2, 1, 0)).reshape(-1, len(weight))
        kH, kW = mask.shape
        self._up, self._left = kH // 2, kW // 2
        padded = count, height + kH - 1, width + kW - 1, weight.shape[1]
        self._pixels = np.zeros(padded, weight.dtype)

    def store(self, x: Array, i: int, j: int) -> None:
        """Store x (N, C) as input pixel (i, j)."""
        self._pixels[:, i + self._up, j + self._left] = x

    def convolve(self, i: int, j: int) -> Array:
        """Output pixel (i, j), from the pixels stored so far.   -> (N, O)"""
        neighbours = self._pixels[:, i + self._rows, j + self._columns]
        return neighbours.reshape(len(neighbours), -1) @ self._taps


class RowCache:
    """The input rows stored so far of a vertical stack, and its output in one row.

    The vertical convolution of row i reads rows up to i, or i - 1 for mask type A.
    """

    def __init__(self, layer: WNStackedConv2d, count: int, height: int, width: int) -> None:
        self._weight, self._bias = layer.vertical.weight()[0], layer.vertical.bias.data
        self._link = layer.link.weight()[0][:, :, 0, 0]
        self._up, self._side = layer.vertical.padding
        padded = count, self._weight.shape[1], height + self._up, width
        self._rows = np.zeros(padded, self._weight.dtype)

    def store(self, v: Array, i: int) -> None:
        """Store v (N, C, W) as input row i."""
        self._rows[:, :, i + self._up] = v

    def convolve(self, i: int) -> tuple[Array, Array]:
        """Row i of v', and of the link to h', u v'.   -> (N, O, W) each"""
        neighbours = self._rows[:, :, i : i + self._weight.shape[2]]
        y, _ = conv2d(neighbours, self._weight, self._bias, padding=(0, self._side))
        return y[:, :, 0], self._link @ y[:, :, 0]


@singledispatch
def pixel_step(layer: Module, count: int, height: int, width: int) -> PixelStep:
    """The layer as a function of one pixel's features, with its cache for `count` images.

    Raises: TypeError for a layer that cannot run pixel by pixel.
    """
    raise TypeError(f"layer: got {type(layer).__name__}, takes one that can run pixel by pixel")


@pixel_step.register
def _(layer: Sequential, count: int, height: int, width: int) -> PixelStep:
    steps = [pixel_step(part, count, height, width) for part in layer]

    def step(x: Array, i: int, j: int) -> Array:
        for part in steps:
            x = part(x, i, j)
        return x

    return step


@pixel_step.register
def _(layer: Residual, count: int, height: int, width: int) -> PixelStep:
    branch = pixel_step(layer.branch, count, height, width)
    return lambda x, i, j: x + branch(x, i, j)


@pixel_step.register
def _(layer: ELU, count: int, height: int, width: int) -> PixelStep:
    return lambda x, i, j: elu(x)[0]


@pixel_step.register
def _(layer: WNConv2d, count: int, height: int, width: int) -> PixelStep:
    weight = layer.weight()[0][:, :, 0, 0].T  # of a 1 x 1 kernel
    return lambda x, i, j: x @ weight + layer.bias.data


@pixel_step.register
def _(layer: WNMaskedConv2d, count: int, height: int, width: int) -> PixelStep:
    cache = PixelCache(layer, count, height, width)

    def step(x: Array, i: int, j: int) -> Array:
        cache.store(x, i, j)
        return cache.convolve(i, j) + layer.bias.data

    return step


class StackedResidualSteps:
    """A StackedResidual in raster order: `step_row` once a row, `step` for each of its pixels.

    Shapes: step_row (N, C, W) -> (N, C, W), row i of v; step (N, C) -> (N, C), pixel (i, j) of h.
    """

    def __init__(self, block: StackedResidual, count: int, height: int, width: int) -> None:
        self._cache = RowCache(block.layer, count, height, width)
        self._horizontal = pixel_step(block.layer.horizontal, count, height, width)

    def step_row(self, v: Array, i: int) -> Array:
        self._cache.store(elu(v)[0], i)
        branch, self._link = self._cache.convolve(i)
        return v + branch

    def step(self, h: Array, i: int, j: int) -> Array:
        return h + self._horizontal(elu(h)[0], i, j) + self._link[:, :, j]


class HorizontalBlockSteps:
    """A HorizontalBlock in raster order; shapes as in StackedResidualSteps."""

    def __init__(self, block: HorizontalBlock, count: int, height: int, width: int) -> None:
        self.step = pixel_step(block.block, count, height, width)

    def step_row(self, v: Array, i: int) -> Array:
        return v
