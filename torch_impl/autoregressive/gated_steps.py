"""The gated PixelCNN in raster order, for ancestral sampling: its caches and its steps.

Row i of the vertical stack depends on the rows before i alone, so it is computed whole; row i of
the horizontal stack is computed pixel by pixel. Call under torch.no_grad.
Shapes: a row is (N, F, W) and a pixel (N, F): N images of H x W pixels and C channels, F features,
P parameters of the distribution of a pixel; a convolution has I input and O output channels.
Source: own design, as in `ancestral`.
Left panel: numpy_ref/autoregressive/gated_steps.py
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torch_impl.autoregressive.gated_pixel_cnn import (
    GatedBlock,
    GatedPixelCNN,
    GatedResidual,
    ShiftedConv2d,
    concat_elu,
    gate,
)

Size = tuple[int, int, int]
"""(N, H, W)."""


class ShiftedRows:
    """The input pixels stored so far of a vertical convolution, and its output in one row."""

    def __init__(self, layer: ShiftedConv2d, size: Size) -> None:
        N, H, W = size
        self._weight, self._bias = layer.weight(), layer.bias
        self._up, self._left = layer.padding
        self._rows = self._weight.new_zeros((N, self._weight.shape[1], H + self._up, W))

    def store(self, x: Tensor, i: int, columns: Any = slice(None)) -> None:
        """Store x (N, I, W) as input row i, or x (N, I) as one pixel of it."""
        self._rows[:, :, i + self._up, columns] = x

    def convolve(self, i: int) -> Tensor:
        """Output row i, from the rows stored so far.   -> (N, O, W)"""
        rows = self._rows[:, :, i : i + self._weight.shape[2]]
        y = F.conv2d(rows, self._weight, self._bias, padding=(0, self._left))
        return y[:, :, 0, : rows.shape[3]]


class ShiftedPixels:
    """The input pixels stored so far in a row of a horizontal convolution, and one output pixel.

    A new row overwrites the pixels of the row before, each before it is read.
    """

    def __init__(self, layer: ShiftedConv2d, size: Size) -> None:
        N, _, W = size
        weight, self._bias = layer.weight(), layer.bias
        self._taps = weight[:, :, 0].permute(2, 1, 0).reshape(-1, len(weight))  # (kW I, O)
        self._left, self._reach = layer.padding[1], weight.shape[3]
        self._pixels = weight.new_zeros((N, W + self._left, weight.shape[1]))

    def store(self, x: Tensor, j: int) -> None:
        """Store x (N, I) as input pixel j."""
        self._pixels[:, j + self._left] = x

    def convolve(self, j: int) -> Tensor:
        """Output pixel j, from the pixels stored so far.   -> (N, O)"""
        pixels = self._pixels[:, j : j + self._reach]
        return pixels.reshape(len(pixels), -1) @ self._taps + self._bias


class Pointwise:
    """A 1 x 1 convolution of a row (N, I, W) or of a pixel (N, I)."""

    def __init__(self, layer: Any) -> None:
        self._weight, self._bias = layer.weight()[:, :, 0, 0], layer.bias

    def row(self, x: Tensor) -> Tensor:
        return self._weight @ x + self._bias[:, None]

    def pixel(self, x: Tensor) -> Tensor:
        return x @ self._weight.T + self._bias


class Gates:
    """y = x + a sigmoid(b), [a, b] = gates(f(c)) + context(maps), of a GatedResidual.

    c is the sum of its convolution and its link. The maps are read once, for all pixels.
    """

    def __init__(self, block: GatedResidual, maps: Tensor) -> None:
        self._gates = Pointwise(block.gates)
        self._context: Any = None if block.context is None else block.context(maps)

    def row(self, x: Tensor, c: Tensor, i: int) -> Tensor:
        gates = self._gates.row(concat_elu(c))
        if self._context is not None:
            gates = gates + self._context[:, :, i]
        return x + gate(gates)

    def pixel(self, x: Tensor, c: Tensor, i: int, j: int) -> Tensor:
        gates = self._gates.pixel(concat_elu(c))
        if self._context is not None:
            gates = gates + self._context[:, :, i, j]
        return x + gate(gates)


class GatedBlockSteps:
    """A GatedBlock: `step_row` gives row i of v, then `step` each pixel (i, j) of h."""

    def __init__(self, block: GatedBlock, maps: Tensor) -> None:
        N, _, H, W = maps.shape
        self._vertical = ShiftedRows(block.vertical.conv, (N, H, W))
        self._vertical_gates = Gates(block.vertical, maps)
        self._horizontal = ShiftedPixels(block.horizontal.conv, (N, H, W))
        self._horizontal_gates = Gates(block.horizontal, maps)
        self._link = Pointwise(block.link)

    def step_row(self, v: Tensor, i: int) -> Tensor:
        self._vertical.store(concat_elu(v), i)
        v = self._vertical_gates.row(v, self._vertical.convolve(i), i)
        self._row = self._link.row(concat_elu(v))
        return v

    def step(self, h: Tensor, i: int, j: int) -> Tensor:
        self._horizontal.store(concat_elu(h), j)
        c = self._horizontal.convolve(j) + self._row[:, :, j]
        return self._horizontal_gates.pixel(h, c, i, j)


class GatedSteps:
    """A GatedPixelCNN in raster order: for each row `start_row`, for each pixel of it `params`, and
    `store` once the pixel is drawn."""

    def __init__(self, decoder: GatedPixelCNN, maps: Tensor) -> None:
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

    def params(self, i: int, j: int) -> Tensor:
        """The parameters of the distribution of pixel (i, j).   -> (N, P)"""
        h = self._row[:, :, j]
        if self._horizontal is not None:
            h = h + self._horizontal.convolve(j)
        for block in self._blocks:
            h = block.step(h, i, j)
        return self._last.pixel(F.elu(h))

    def store(self, x: Tensor, i: int, j: int) -> None:
        """Store x (N, C) as pixel (i, j) of the image."""
        pixels = self._decoder.rescale(x)
        self._vertical.store(pixels, i, j)
        if self._horizontal is not None:
            self._horizontal.store(pixels, j)
