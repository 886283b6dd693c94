"""The gated PixelCNN in raster order, for ancestral sampling: its caches and its steps.

Row i of the vertical stack depends on the rows before i alone, so it is computed whole; row i of
the horizontal stack is computed pixel by pixel. Values only, no gradients.
Shapes: a row is (N, F, W) and a pixel (N, F): N images of H x W pixels and C channels, F features,
P parameters of the distribution of a pixel; a convolution has I input and O output channels.
Source: own design, as in `ancestral`.
Right panel: torch_impl/autoregressive/gated_steps.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_ref.autoregressive.gated_pixel_cnn import (
    GatedBlock,
    GatedPixelCNN,
    GatedResidual,
    ShiftedConv2d,
    concat_elu,
    gate,
)
from numpy_ref.nn.convolution import conv2d
from numpy_ref.nn.functional import elu
from numpy_ref.nn.module import Array
from numpy_ref.nn.weight_norm import WNConv2d

Size = tuple[int, int, int]
"""(N, H, W)."""


class ShiftedRows:
    """The input pixels stored so far of a vertical convolution, and its output in one row."""

    def __init__(self, layer: ShiftedConv2d, size: Size) -> None:
        N, H, W = size
        self._weight, self._bias = layer.weight()[0], layer.bias.data
        self._up, self._left = layer.padding
        self._rows = np.zeros((N, self._weight.shape[1], H + self._up, W), self._weight.dtype)

    def store(self, x: Array, i: int, columns: Any = slice(None)) -> None:
        """Store x (N, I, W) as input row i, or x (N, I) as one pixel of it."""
        self._rows[:, :, i + self._up, columns] = x

    def convolve(self, i: int) -> Array:
        """Output row i, from the rows stored so far.   -> (N, O, W)"""
        rows = self._rows[:, :, i : i + self._weight.shape[2]]
        y, _ = conv2d(rows, self._weight, self._bias, padding=(0, self._left))
        return y[:, :, 0, : rows.shape[3]]


class ShiftedPixels:
    """The input pixels stored so far in a row of a horizontal convolution, and one output pixel.

    A new row overwrites the pixels of the row before, each before it is read.
    """

    def __init__(self, layer: ShiftedConv2d, size: Size) -> None:
        N, _, W = size
        weight, self._bias = layer.weight()[0], layer.bias.data
        self._taps = weight[:, :, 0].transpose(2, 1, 0).reshape(-1, len(weight))  # (kW I, O)
        self._left, self._reach = layer.padding[1], weight.shape[3]
        self._pixels = np.zeros((N, W + self._left, weight.shape[1]), weight.dtype)

    def store(self, x: Array, j: int) -> None:
        """Store x (N, I) as input pixel j."""
        self._pixels[:, j + self._left] = x

    def convolve(self, j: int) -> Array:
        """Output pixel j, from the pixels stored so far.   -> (N, O)"""
        pixels = self._pixels[:, j : j + self._reach]
        return pixels.reshape(len(pixels), -1) @ self._taps + self._bias


class Pointwise:
    """A 1 x 1 convolution of a row (N, I, W) or of a pixel (N, I)."""

    def __init__(self, layer: WNConv2d) -> None:
        self._weight, self._bias = layer.weight()[0][:, :, 0, 0], layer.bias.data

    def row(self, x: Array) -> Array:
        return self._weight @ x + self._bias[:, None]

    def pixel(self, x: Array) -> Array:
        return x @ self._weight.T + self._bias


class Gates:
    """y = x + a sigmoid(b), [a, b] = gates(f(c)) + context(maps), of a GatedResidual.

    c is the sum of its convolution and its link. The maps are read once, for all pixels.
    """

    def __init__(self, block: GatedResidual, maps: Array) -> None:
        self._gates = Pointwise(block.gates)
        self._context: Any = None if block.context is None else block.context(maps)[0]

    def row(self, x: Array, c: Array, i: int) -> Array:
        gates = self._gates.row(concat_elu(c)[0])
        if self._context is not None:
            gates = gates + self._context[:, :, i]
        return x + gate(gates)[0]

    def pixel(self, x: Array, c: Array, i: int, j: int) -> Array:
        gates = self._gates.pixel(concat_elu(c)[0])
        if self._context is not None:
            gates = gates + self._context[:, :, i, j]
        return x + gate(gates)[0]


class GatedBlockSteps:
    """A GatedBlock: `step_row` gives row i of v, then `step` each pixel (i, j) of h."""

    def __init__(self, block: GatedBlock, maps: Array) -> None:
        N, _, H, W = maps.shape
        self._vertical = ShiftedRows(block.vertical.conv, (N, H, W))
        self._vertical_gates = Gates(block.vertical, maps)
        self._horizontal = ShiftedPixels(block.horizontal.conv, (N, H, W))
        self._horizontal_gates = Gates(block.horizontal, maps)
        self._link = Pointwise(block.link)

    def step_row(self, v: Array, i: int) -> Array:
        self._vertical.store(concat_elu(v)[0], i)
        v = self._vertical_gates.row(v, self._vertical.convolve(i), i)
        self._row = self._link.row(concat_elu(v)[0])
        return v

    def step(self, h: Array, i: int, j: int) -> Array:
        self._horizontal.store(concat_elu(h)[0], j)
        c = self._horizontal.convolve(j) + self._row[:, :, j]
        return self._horizontal_gates.pixel(h, c, i, j)


class GatedSteps:
    """A GatedPixelCNN in raster order: for each row `start_row`, for each pixel of it `params`, and
    `store` once the pixel is drawn."""

    def __init__(self, decoder: GatedPixelCNN, maps: Array) -> None:
        N, _, H, W = maps.shape
        first, (_, last) = decoder.first, decoder.last
        self._decoder = decoder
        self._vertical = ShiftedRows(first.vertical, (N, H, W))
        self._horizontal: Any = None
        if first.horizontal is not None:
            self._horizontal = ShiftedPixels(first.horizontal, (N, H, W))
        self._link = Pointwise(first.link)
        self._blocks = [GatedBlockSteps(block, maps) for block in decoder.body]
        self._last = Pointwise(last)

    def start_row(self, i: int) -> None:
        """Compute row i of v in each layer, from the rows stored so far."""
        v = self._vertical.convolve(i)
        self._row = self._link.row(v)
        for block in self._blocks:
            v = block.step_row(v, i)

    def params(self, i: int, j: int) -> Array:
        """The parameters of the distribution of pixel (i, j).   -> (N, P)"""
        h = self._row[:, :, j]
        if self._horizontal is not None:
            h = h + self._horizontal.convolve(j)
        for block in self._blocks:
            h = block.step(h, i, j)
        return self._last.pixel(elu(h)[0])

    def store(self, x: Array, i: int, j: int) -> None:
        """Store x (N, C) as pixel (i, j) of the image."""
        pixels, _ = self._decoder.rescale(x)
        self._vertical.store(pixels, i, j)
        if self._horizontal is not None:
            self._horizontal.store(pixels, j)
