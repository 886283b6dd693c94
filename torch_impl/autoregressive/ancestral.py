"""Layers one pixel at a time, each remembering what it was given: what ancestral sampling runs on.

    at = pixelwise(layer, N, H, W);   y[:, :, i, j] = at(x[:, :, i, j], i, j)    in raster order

is what the layer makes of all pixels at once; under torch.no_grad.
Shapes: at one pixel, features are (N, C).   Left panel: numpy_ref/autoregressive/ancestral.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import torch.nn.functional as F
from torch import Tensor, nn

from torch_impl.autoregressive.masked_conv import WNMaskedConv2d
from torch_impl.autoregressive.resnet import Residual
from torch_impl.autoregressive.stacked_conv import WNStackedConv2d
from torch_impl.nn.weight_norm import WNConv2d

At = Callable[[Tensor, int, int], Tensor]


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
        weight = layer.weight()[:, :channels]
        mask = layer.mask[0]
        self._rows, self._columns = mask.nonzero(as_tuple=True)
        taps = weight[:, :, self._rows, self._columns]  # (O, C, T)
        self._taps = taps.permute(2, 1, 0).reshape(-1, len(weight))
        kH, kW = mask.shape
        self._up, self._left = kH // 2, kW // 2
        padded = count, height + kH - 1, width + kW - 1, weight.shape[1]
        self._given = weight.new_zeros(padded)

    def write(self, x: Tensor, i: int, j: int) -> None:
        """x (N, C) is what pixel (i, j) is."""
        self._given[:, i + self._up, j + self._left] = x

    def read(self, i: int, j: int) -> Tensor:
        """What the convolution gives at pixel (i, j).   -> (N, O)"""
        near = self._given[:, i + self._rows, j + self._columns]
        return near.reshape(len(near), -1) @ self._taps


class RowMemory:
    """The rows of v that a layer of two stacks was given so far, and what it makes of them in one.

    The vertical convolution of row i reads rows up to i, or i - 1 for mask type A.
    """

    def __init__(self, layer: WNStackedConv2d, count: int, height: int, width: int) -> None:
        self._weight, self._bias = layer.vertical.weight(), layer.vertical.bias
        self._link = layer.link.weight()[:, :, 0, 0]
        self._up, self._side = layer.vertical.padding
        self._given = self._weight.new_zeros(
            (count, self._weight.shape[1], height + self._up, width)
        )

    def write(self, v: Tensor, i: int) -> None:
        """v (N, C, W) is what row i is."""
        self._given[:, :, i + self._up] = v

    def read(self, i: int) -> tuple[Tensor, Tensor]:
        """Row i of v', and what the link makes of it for h'.   -> (N, O, W) each"""
        near = self._given[:, :, i : i + self._weight.shape[2]]
        v = F.conv2d(near, self._weight, self._bias, padding=(0, self._side))[:, :, 0]
        return v, self._link @ v


@singledispatch
def pixelwise(layer: nn.Module, count: int, height: int, width: int) -> At:
    """The layer as a function of one pixel's features, for `count` images."""
    raise TypeError(f"layer: got {type(layer).__name__}, takes one that knows pixels")


@pixelwise.register
def _(layer: nn.Sequential, count: int, height: int, width: int) -> At:
    parts = [pixelwise(part, count, height, width) for part in layer]

    def at(x: Tensor, i: int, j: int) -> Tensor:
        for part in parts:
            x = part(x, i, j)
        return x

    return at


@pixelwise.register
def _(layer: Residual, count: int, height: int, width: int) -> At:
    branch = pixelwise(layer.branch, count, height, width)
    return lambda x, i, j: x + branch(x, i, j)


@pixelwise.register
def _(layer: nn.ELU, count: int, height: int, width: int) -> At:
    return lambda x, i, j: F.elu(x)


@pixelwise.register
def _(layer: WNConv2d, count: int, height: int, width: int) -> At:
    weight = layer.weight()[:, :, 0, 0].T  # of a 1 x 1 kernel
    return lambda x, i, j: x @ weight + layer.bias


@pixelwise.register
def _(layer: WNMaskedConv2d, count: int, height: int, width: int) -> At:
    memory = Memory(layer, count, height, width)

    def at(x: Tensor, i: int, j: int) -> Tensor:
        memory.write(x, i, j)
        return memory.read(i, j) + layer.bias

    return at
