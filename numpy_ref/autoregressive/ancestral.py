"""Layers one pixel at a time, each remembering what it was given: what ancestral sampling runs on.

    at = pixelwise(layer, N, H, W);   y[:, :, i, j] = at(x[:, :, i, j], i, j)    in raster order

is what the layer makes of all pixels at once; value only.
Shapes: at one pixel, features are (N, C).   Right panel: torch_impl/autoregressive/ancestral.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np

from numpy_ref.autoregressive.masked_conv import WNMaskedConv2d
from numpy_ref.autoregressive.resnet import Residual
from numpy_ref.autoregressive.stacked_conv import WNStackedConv2d
from numpy_ref.nn import functional
from numpy_ref.nn.correlation import correlate
from numpy_ref.nn.layers import ELU
from numpy_ref.nn.module import Array, Module, Sequential
from numpy_ref.nn.weight_norm import WNConv2d

At = Callable[[Array, int, int], Array]


class Memory:
    """The pixels that a masked convolution was given so far, and what it makes of them at one.

    y[:, o, i, j] = sum over taps t that the mask lets through of w[o, :, t] x[:, :, pixel + t]

    without the bias; of the first `channels` alone, where they are named.
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
        self._given = np.zeros(padded, weight.dtype)

    def write(self, x: Array, i: int, j: int) -> None:
        """x (N, C) is what pixel (i, j) is."""
        self._given[:, i + self._up, j + self._left] = x

    def read(self, i: int, j: int) -> Array:
        """What the convolution gives at pixel (i, j).   -> (N, O)"""
        near = self._given[:, i + self._rows, j + self._columns]
        return near.reshape(len(near), -1) @ self._taps


class RowMemory:
    """The rows of v that a layer of two stacks was given so far, and what it makes of them in one.

    The vertical convolution of row i reads rows up to i, or i - 1 for mask type A.
    """

    def __init__(self, layer: WNStackedConv2d, count: int, height: int, width: int) -> None:
        self._weight, self._bias = layer.vertical.weight()[0], layer.vertical.bias
        self._link = layer.link.weight()[0][:, :, 0, 0]
        self._up, self._side = layer.vertical.padding
        self._given = np.zeros(
            (count, self._weight.shape[1], height + self._up, width), self._weight.dtype
        )

    def write(self, v: Array, i: int) -> None:
        """v (N, C, W) is what row i is."""
        self._given[:, :, i + self._up] = v

    def read(self, i: int) -> tuple[Array, Array]:
        """Row i of v', and what the link makes of it for h'.   -> (N, O, W) each"""
        near = self._given[:, :, i : i + self._weight.shape[2]]
        v = correlate(near, self._weight, (1, 1), (0, self._side))[:, :, 0]
        v += self._bias.data[:, None]
        return v, self._link @ v


@singledispatch
def pixelwise(layer: Module, count: int, height: int, width: int) -> At:
    """The layer as a function of one pixel's features, for `count` images."""
    raise TypeError(f"layer: got {type(layer).__name__}, takes one that knows pixels")


@pixelwise.register
def _(layer: Sequential, count: int, height: int, width: int) -> At:
    parts = [pixelwise(part, count, height, width) for part in layer]

    def at(x: Array, i: int, j: int) -> Array:
        for part in parts:
            x = part(x, i, j)
        return x

    return at


@pixelwise.register
def _(layer: Residual, count: int, height: int, width: int) -> At:
    branch = pixelwise(layer.branch, count, height, width)
    return lambda x, i, j: x + branch(x, i, j)


@pixelwise.register
def _(layer: ELU, count: int, height: int, width: int) -> At:
    return lambda x, i, j: functional.elu(x)[0]


@pixelwise.register
def _(layer: WNConv2d, count: int, height: int, width: int) -> At:
    weight = layer.weight()[0][:, :, 0, 0].T  # of a 1 x 1 kernel
    return lambda x, i, j: x @ weight + layer.bias.data


@pixelwise.register
def _(layer: WNMaskedConv2d, count: int, height: int, width: int) -> At:
    memory = Memory(layer, count, height, width)

    def at(x: Array, i: int, j: int) -> Array:
        memory.write(x, i, j)
        return memory.read(i, j) + layer.bias.data

    return at
