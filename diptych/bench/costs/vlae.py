"""FLOPs and bytes of the variational lossy autoencoder: its ResNet encoder and decoder, its flow.

The pixel decoders are in vlae_pixels.py. A 3 x 3 convolution from a to b channels has 2 N 9 a b
FLOPs for each output pixel, and a layer of a MADE 2 N times the number of its unmasked weights,
which is about half of them; in a flow over maps, about half of those at the pixel itself and all at
the pixels before. Every layer of the encoder and the decoder is weight-normalised.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any

from diptych.bench.costs.layers import (
    Pair,
    conv2d,
    conv_transpose2d,
    linear,
    weight_normalised,
)
from diptych.bench.costs.part import ADAM, Part, Products, Work, elementwise
from diptych.bench.costs.vlae_pixels import pixels
from model_specs.autoregressive.flow import made_degrees
from model_specs.autoregressive.map_flow import MAP_WINDOW, map_degrees
from model_specs.autoregressive.pixel_layers import KERNEL_SIZE
from model_specs.vlae import WITH_FLOW, VLAEConfig


def work(config: VLAEConfig, batch_size: int) -> Work:
    """The work of one step on x (N, C, H, W) and eps (N, Z), with Adamax."""
    c, N = config, batch_size
    pixel_count, Z = N * c.height * c.width, c.code_dim
    latent: list[Part] = []
    if Z:
        latent = [*_encoder(c, N), elementwise("z", N * Z, 3), *_decoder(c, N)]
    elif c.position_maps:
        values = c.position_maps * c.height * c.width
        latent = [Part("maps of positions", 0, N * values, weights=values, parameters=values)]
    if c.latent in WITH_FLOW:
        latent += _flow(c, N)
    parts = (
        *latent,
        *pixels(c, N),
        Part("likelihood", pixel_count * (c.outputs + c.channels), pixel_count),
        elementwise("KL", N * Z, 2),
    )
    return Work(parts, data=pixel_count * c.channels + N * Z, optimizer=ADAM)


def _encoder(c: VLAEConfig, N: int) -> list[Part]:
    """Blocks of stride 2 with flat blocks between them, and the layers of mu and logvar."""
    maps, sizes = c.encoder_maps, c.sizes
    parts = _down(N, maps[0], maps[1], sizes[0], is_data=True)
    for k in range(1, c.strides):
        parts += _flat(N, maps[k], sizes[k])
        parts += _down(N, maps[k], maps[k + 1], sizes[k])
    parts.append(elementwise("ELU", N * c.features))
    if c.latent_maps:
        heads = [_convolution(N, maps[-1], c.latent_maps, sizes[-1]) for _ in range(2)]
        return parts + [part for head in heads for part in head]
    H, Z = c.hidden_dim, c.latent_dim
    return [
        *parts,
        *_linear("hidden", N, c.features, H),
        elementwise("ELU", N * H),
        *_linear("mu", N, H, Z),
        *_linear("logvar", N, H, Z),
    ]


def _decoder(c: VLAEConfig, N: int) -> list[Part]:
    """The layers that read the code, and blocks of stride 2 upwards with flat blocks between."""
    maps, sizes = [c.context_maps, *c.encoder_maps[1:]], c.sizes
    parts: list[Part] = []
    if c.latent_maps:
        parts += _convolution(N, c.latent_maps, maps[-1], sizes[-1])
    else:
        parts += _linear("decoder hidden", N, c.latent_dim, c.hidden_dim)
        parts.append(elementwise("ELU", N * c.hidden_dim))
        parts += _linear("decoder features", N, c.hidden_dim, c.features)
    for k in range(c.strides, 1, -1):
        parts += _up(N, maps[k], maps[k - 1], sizes[k], sizes[k - 1])
        parts += _flat(N, maps[k - 1], sizes[k - 1])
    return parts + _up(N, maps[1], maps[0], sizes[1], sizes[0])


def _flow(c: VLAEConfig, N: int) -> list[Part]:
    """The network of each step: masked layers with ReLUs between them."""
    outputs = 1 if c.flow_mean_only else 2
    parts: list[Part] = []
    for order in c.flow.orders:
        degrees: Any = map_degrees if c.latent_maps else made_degrees
        layers = degrees(order, c.flow_hidden_dim, c.flow_hidden_layers, outputs)
        pixels = math.prod(c.sizes[-1]) if c.latent_maps else 1
        for inner, outer in pairwise(layers):
            ascending = sorted(inner)
            unmasked = sum(bisect_right(ascending, degree) for degree in outer)
            if c.latent_maps:
                parts.append(_map_layer(N, len(inner), len(outer), c.sizes[-1], unmasked))
            else:
                parts.append(linear("MADE", N, len(inner), len(outer), unmasked=unmasked))
            parts.append(elementwise("ReLU, or shift", N * len(outer) * pixels))
    return parts


def _map_layer(N: int, inputs: int, outputs: int, size: Pair, unmasked: int) -> Part:
    """A masked convolution of a flow over maps: all weights at the pixels before, and `unmasked`
    ones at the pixel itself."""
    before, kernel = MAP_WINDOW.mask("A"), MAP_WINDOW.kernel_size
    padding = kernel[0] // 2, kernel[1] // 2
    channels, mask = (inputs, outputs), [before] * inputs
    part = conv2d("MADE over maps", N, channels, kernel, size, padding=padding, mask=mask)
    itself = 2 * N * unmasked * size[0] * size[1]
    needed = Products(*(products + itself for products in part.needed))
    return dataclasses.replace(part, needed=needed)


def _linear(name: str, N: int, inputs: int, outputs: int) -> tuple[Part, Part]:
    return weight_normalised(linear(name, N, inputs, outputs), outputs)


def _convolution(
    N: int, a: int, b: int, size: Pair, *, stride: int = 1, is_data: bool = False
) -> tuple[Part, Part]:
    part = conv2d(
        f"convolution {a} -> {b}",
        N,
        (a, b),
        (KERNEL_SIZE, KERNEL_SIZE),
        size,
        stride=stride,
        padding=(1, 1),
        grad_channels=0 if is_data else None,
    )
    return weight_normalised(part, b)


def _transposed(N: int, a: int, b: int, small: Pair, large: Pair) -> tuple[Part, Part]:
    part = conv_transpose2d(
        f"transposed convolution {a} -> {b}",
        N,
        (a, b),
        KERNEL_SIZE,
        small,
        large,
        stride=2,
        padding=1,
    )
    return weight_normalised(part, b)


def _flat(N: int, channels: int, size: Pair) -> list[Part]:
    """x + f_2(elu(f_1(elu(x))))"""
    values = N * channels * size[0] * size[1]
    branch = [
        part
        for _ in range(2)
        for part in (elementwise("ELU", values), *_convolution(N, channels, channels, size))
    ]
    return [*branch, elementwise("residual", values, 2)]


def _down(N: int, a: int, b: int, size: Pair, *, is_data: bool = False) -> list[Part]:
    """A residual block of stride 2; the first one reads the image, without an ELU."""
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    values = N * b * half[0] * half[1]
    return [
        *([] if is_data else [elementwise("ELU", N * a * size[0] * size[1])]),
        *_convolution(N, a, b, size, stride=2, is_data=is_data),
        elementwise("ELU", values),
        *_convolution(N, b, b, half),
        *_convolution(N, a, b, size, stride=2, is_data=is_data),
        elementwise("residual", values, 2),
    ]


def _up(N: int, a: int, b: int, small: Pair, large: Pair) -> list[Part]:
    """A residual block with transposed convolutions of stride 2."""
    values = N * b * large[0] * large[1]
    return [
        elementwise("ELU", N * a * small[0] * small[1]),
        *_transposed(N, a, b, small, large),
        elementwise("ELU", values),
        *_convolution(N, b, b, large),
        *_transposed(N, a, b, small, large),
        elementwise("residual", values, 2),
    ]
