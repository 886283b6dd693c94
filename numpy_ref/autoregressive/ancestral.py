"""Ancestral sampling: pixels are drawn one after the other, each from p(x_i | pixels before i).

    x_i = draw(params_i, u_i),   params_i = decoder(x_1 ... x_{i-1}, maps),   u uniform

`draw` belongs to the likelihood; for binary pixels it is x_i = u_i < p_i, `draw_bernoulli`.
A full forward pass per pixel would compute every earlier pixel anew. Here the layers keep the
pixels that they have read in caches (`pixel_steps`, `gated_steps`), so that an image costs one
forward pass. Values only, no gradients.
Shapes: N images of H x W pixels, C channels, M context maps, P parameters of the distribution of a
pixel, U uniforms a pixel.
Source: own design; the decoders are those of van den Oord et al. (2016) and Salimans et al. (2017).
Right panel: torch_impl/autoregressive/ancestral.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any

import numpy as np

from numpy_ref.autoregressive.gated_pixel_cnn import GatedPixelCNN
from numpy_ref.autoregressive.gated_steps import GatedSteps
from numpy_ref.autoregressive.pixel_cnn import FactorisedDecoder, PixelCNN, read_context
from numpy_ref.autoregressive.pixel_steps import (
    HorizontalBlockSteps,
    PixelCache,
    RowCache,
    StackedResidualSteps,
    pixel_step,
)
from numpy_ref.autoregressive.stacked_pixel_cnn import (
    HorizontalBlock,
    StackedPixelCNN,
    StackedResidual,
)
from numpy_ref.nn.module import Array, Module
from numpy_ref.probability.pixel_likelihoods import draw_bernoulli

Draw = Callable[[Array, Array], tuple[Array, Array]]
"""(params (N, P), u (N, U)) -> a pixel x and the mean of its distribution, (N, C) each."""
Progress = Callable[[int], None]


@singledispatch
def sample_pixels(
    decoder: Module,
    maps: Array,
    u: Array,
    progress: Progress | None = None,
    draw: Draw = draw_bernoulli,
) -> tuple[Array, Array]:
    """Images x ~ p(x|maps) of a pixel decoder, and the mean of the distribution of each pixel.

    `progress` is called after each row with the number of its pixels.
    Shapes: maps (N, M, H, W), uniform u (N, U, H, W) -> x, means (N, C, H, W).
    """
    raise TypeError(f"decoder: got {type(decoder).__name__}, takes a decoder of pixels")


@sample_pixels.register
def _(
    decoder: FactorisedDecoder,
    maps: Array,
    u: Array,
    progress: Progress | None = None,
    draw: Draw = draw_bernoulli,
) -> tuple[Array, Array]:
    x, means = draw(decoder(u, maps)[0], u)  # no pixel depends on another: all are drawn at once
    if progress:
        progress(u[0, 0].size)
    return x, means


@sample_pixels.register
def _(
    decoder: PixelCNN,
    maps: Array,
    u: Array,
    progress: Progress | None = None,
    draw: Draw = draw_bernoulli,
) -> tuple[Array, Array]:
    x, means = _empty_images(decoder, u)
    N, _, H, W = x.shape
    read = partial(read_context, context_channels=decoder.context_channels)
    blank, _ = read(x)
    context, _ = decoder.first(np.concatenate((blank, maps), 1))  # on x = 0: maps and bias
    first = PixelCache(decoder.first, N, H, W, channels=blank.shape[1])
    layers = [pixel_step(part, N, H, W) for part in (decoder.body, decoder.last)]
    for i in range(H):
        for j in range(W):
            h = context[:, :, i, j] + first.convolve(i, j)
            for step in layers:
                h = step(h, i, j)
            x[:, :, i, j], means[:, :, i, j] = draw(h, u[:, :, i, j])
            first.store(read(x[:, :, i, j])[0], i, j)
        if progress:
            progress(W)
    return x, means


@sample_pixels.register
def _(
    decoder: StackedPixelCNN,
    maps: Array,
    u: Array,
    progress: Progress | None = None,
    draw: Draw = draw_bernoulli,
) -> tuple[Array, Array]:
    """Compute row i of v whole, as it reads rows before i alone, then row i of h by pixels."""
    x, means = _empty_images(decoder, u)
    N, _, H, W = x.shape
    read = partial(read_context, context_channels=decoder.context_channels)
    blank, _ = read(x)
    horizontal = decoder.first.horizontal
    context, _ = horizontal(np.concatenate((blank, maps), 1))  # on x = 0: maps and bias
    rows = RowCache(decoder.first, N, H, W)
    first = PixelCache(horizontal, N, H, W, channels=blank.shape[1])
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
            x[:, :, i, j], means[:, :, i, j] = draw(last(h, i, j), u[:, :, i, j])
            first.store(read(x[:, :, i, j])[0], i, j)
        rows.store(np.concatenate((read(x[:, :, i])[0], maps[:, :, i]), 1), i)
        if progress:
            progress(W)
    return x, means


@sample_pixels.register
def _(
    decoder: GatedPixelCNN,
    maps: Array,
    u: Array,
    progress: Progress | None = None,
    draw: Draw = draw_bernoulli,
) -> tuple[Array, Array]:
    x, means = _empty_images(decoder, u)
    _, _, H, W = x.shape
    steps = GatedSteps(decoder, maps)
    for i in range(H):
        steps.start_row(i)
        for j in range(W):
            x[:, :, i, j], means[:, :, i, j] = draw(steps.params(i, j), u[:, :, i, j])
            steps.store(x[:, :, i, j], i, j)
        if progress:
            progress(W)
    return x, means


def _empty_images(decoder: Any, u: Array) -> tuple[Array, Array]:
    """Images of 0 for the pixels to be drawn, and an array for their means, (N, C, H, W) each."""
    N, _, H, W = u.shape
    x = np.zeros((N, decoder.channels, H, W), u.dtype)
    return x, np.empty_like(x)
