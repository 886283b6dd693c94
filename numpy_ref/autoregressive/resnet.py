"""The ResNet VAE: residual blocks of weight-normalised convolutions, its encoder and its decoder.

Shapes: x (N, C, H, W), mu and logvar (N, Z), code (N, Z), maps (N, M, H, W): N images of H x W
pixels and C channels, Z latents, M context maps. A code of maps is flat too, in the order of
config.code_shape.
Right panel: torch_impl/autoregressive/resnet.py
Sources: He et al., "Identity mappings in deep residual networks" (2016), arXiv 1603.05027; the
ResNet VAE of Kingma et al. (2016), arXiv 1606.04934, in the sizes of Chen et al. (2016) for MNIST.
Own design: the layers next to a code of maps, of which Chen et al. give only the size.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.vlae import VLAEConfig
from numpy_ref.nn.functional import ELU
from numpy_ref.nn.module import Array, Module, Parameter, Sequential, Vjp, as_dtype
from numpy_ref.nn.weight_norm import WNConv2d, WNConvTranspose2d, WNLinear


class Residual(Module):
    """y = skip(x) + branch(x), the branch f_n(elu(... f_1(elu(x)))); without a skip, x + branch(x).

    Shapes: x (N, C, H, W) -> the shape of the branch's output; without a skip, the shape of x.
    """

    def __init__(self, *branch: Module, skip: Module | None = None) -> None:
        self.branch = Sequential(*branch)
        self.skip = skip

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        residual, branch_vjp = self.branch(x)
        if self.skip is None:
            return x + residual, lambda dy: dy + branch_vjp(dy)
        shortcut, skip_vjp = self.skip(x)

        def vjp(dy: Array) -> Array | None:
            dshortcut, dresidual = skip_vjp(dy), branch_vjp(dy)
            return None if dshortcut is None else dshortcut + dresidual  # None: x is data

        return shortcut + residual, vjp


def flat_block(channels: int, kernel_size: int = 3, **factory_kwargs: Any) -> Residual:
    """A residual block of two convolutions that keeps the size and the number of the maps."""
    conv: Any = partial(WNConv2d, padding=kernel_size // 2, **factory_kwargs)
    return Residual(
        ELU(),
        conv(channels, channels, kernel_size),
        ELU(),
        conv(channels, channels, kernel_size),
    )


def input_block(in_channels: int, out_channels: int, **factory_kwargs: Any) -> Residual:
    """`down_block` for an image, without the first ELU, which keeps pixels of 0 and 1."""
    conv: Any = partial(WNConv2d, kernel_size=3, padding=1, **factory_kwargs)
    return Residual(
        conv(in_channels, out_channels, stride=2, input_grad=False),
        ELU(),
        conv(out_channels, out_channels),
        skip=conv(in_channels, out_channels, stride=2, input_grad=False),
    )


def down_block(in_channels: int, out_channels: int, **factory_kwargs: Any) -> Residual:
    """A residual block that halves the images' size, rounded up, by convolutions of stride 2."""
    conv: Any = partial(WNConv2d, kernel_size=3, padding=1, **factory_kwargs)
    return Residual(
        ELU(),
        conv(in_channels, out_channels, stride=2),
        ELU(),
        conv(out_channels, out_channels),
        skip=conv(in_channels, out_channels, stride=2),
    )


def up_block(
    in_channels: int, out_channels: int, size: tuple[int, int], **factory_kwargs: Any
) -> Residual:
    """A residual block that gives images of `size`, twice the input's or one less.

    It mirrors `down_block`: its strided convolutions are transposed.
    """
    height, width = size
    options = {"kernel_size": 3, "padding": 1, **factory_kwargs}
    conv: Any = partial(WNConv2d, **options)
    conv_transpose: Any = partial(
        WNConvTranspose2d, stride=2, output_padding=(1 - height % 2, 1 - width % 2), **options
    )
    return Residual(
        ELU(),
        conv_transpose(in_channels, out_channels),
        ELU(),
        conv(out_channels, out_channels),
        skip=conv_transpose(in_channels, out_channels),
    )


def encoder_blocks(config: VLAEConfig, **factory_kwargs: Any) -> Sequential:
    """`config.strides` blocks of stride 2, with flat blocks between them."""
    channels, *maps = config.encoder_maps
    blocks = [input_block(channels, maps[0], **factory_kwargs)]
    for before, after in pairwise(maps):
        blocks.append(flat_block(before, **factory_kwargs))
        blocks.append(down_block(before, after, **factory_kwargs))
    return Sequential(*blocks)


def decoder_blocks(config: VLAEConfig, **factory_kwargs: Any) -> Sequential:
    """The blocks of `encoder_blocks` mirrored; the last gives the context maps."""
    maps, (*sizes, image) = config.encoder_maps[:0:-1], config.sizes[-2::-1]
    blocks = []
    for (before, after), size in zip(pairwise(maps), sizes, strict=True):
        blocks.append(up_block(before, after, size, **factory_kwargs))
        blocks.append(flat_block(after, **factory_kwargs))
    blocks.append(up_block(maps[-1], config.context_maps, image, **factory_kwargs))
    return Sequential(*blocks)


class Encoder(Module):
    """Mean and log-variance of q(z|x), z a vector: blocks of stride 2, a hidden layer, and a linear
    layer each for the mean and the log-variance."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        H, Z = config.hidden_dim, config.latent_dim
        linear: Any = partial(WNLinear, **factory_kwargs)
        self.blocks = encoder_blocks(config, **factory_kwargs)
        self.hidden = Sequential(ELU(), linear(config.features, H), ELU())
        self.mu = linear(H, Z)
        self.logvar = linear(H, Z)

    def forward(self, x: Array) -> tuple[tuple[Array, Array], Vjp]:
        features, blocks_vjp = self.blocks(x)
        h, hidden_vjp = self.hidden(features.reshape(len(x), -1))
        mu, mu_vjp = self.mu(h)
        logvar, logvar_vjp = self.logvar(h)

        def vjp(dmu: Array, dlogvar: Array) -> Array:
            dfeatures = hidden_vjp(mu_vjp(dmu) + logvar_vjp(dlogvar))
            return blocks_vjp(dfeatures.reshape(features.shape))

        return (mu, logvar), vjp


class Decoder(Module):
    """Context maps of a code, a vector, by the encoder's sizes and maps in reverse order."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        H, Z = config.hidden_dim, config.latent_dim
        linear: Any = partial(WNLinear, **factory_kwargs)
        self.shape = config.encoder_maps[-1], *config.sizes[-1]
        self.hidden = Sequential(linear(Z, H), ELU(), linear(H, config.features))
        self.blocks = decoder_blocks(config, **factory_kwargs)

    def forward(self, code: Array) -> tuple[Array, Vjp]:
        h, hidden_vjp = self.hidden(code)
        maps, blocks_vjp = self.blocks(h.reshape(-1, *self.shape))
        return maps, lambda dmaps: hidden_vjp(blocks_vjp(dmaps).reshape(h.shape))


class MapEncoder(Module):
    """Mean and log-variance of q(z|x), z maps: blocks of stride 2, and a 3 x 3 convolution each for
    the mean and the log-variance."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        maps = config.encoder_maps[-1], config.latent_maps
        conv: Any = partial(WNConv2d, kernel_size=3, padding=1, **factory_kwargs)
        self.blocks = encoder_blocks(config, **factory_kwargs)
        self.hidden = ELU()
        self.mu = conv(*maps)
        self.logvar = conv(*maps)

    def forward(self, x: Array) -> tuple[tuple[Array, Array], Vjp]:
        features, blocks_vjp = self.blocks(x)
        h, hidden_vjp = self.hidden(features)
        mu, mu_vjp = self.mu(h)
        logvar, logvar_vjp = self.logvar(h)

        def vjp(dmu: Array, dlogvar: Array) -> Array:
            dh = mu_vjp(dmu.reshape(mu.shape)) + logvar_vjp(dlogvar.reshape(mu.shape))
            return blocks_vjp(hidden_vjp(dh))

        return (mu.reshape(len(x), -1), logvar.reshape(len(x), -1)), vjp


class MapDecoder(Module):
    """Context maps of a code, maps: a 3 x 3 convolution, and the encoder's blocks mirrored."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        maps = config.latent_maps, config.encoder_maps[-1]
        self.shape = config.code_shape
        self.first = WNConv2d(*maps, 3, padding=1, **factory_kwargs)
        self.blocks = decoder_blocks(config, **factory_kwargs)

    def forward(self, code: Array) -> tuple[Array, Vjp]:
        h, first_vjp = self.first(code.reshape(-1, *self.shape))
        maps, blocks_vjp = self.blocks(h)
        return maps, lambda dmaps: first_vjp(blocks_vjp(dmaps)).reshape(code.shape)


class NoEncoder(Module):
    """Encoder of a model without a latent: mu and logvar have shape (N, 0)."""

    def forward(self, x: Array) -> tuple[tuple[Array, Array], Vjp]:
        empty = np.zeros((len(x), 0), x.dtype)
        return (empty, empty), lambda dmu, dlogvar: np.zeros_like(x)


class NoDecoder(Module):
    """Decoder of a model without a latent: maps have shape (N, 0, H, W)."""

    def __init__(self, config: VLAEConfig) -> None:
        self.size = config.sizes[0]

    def forward(self, code: Array) -> tuple[Array, Vjp]:
        maps = np.zeros((len(code), 0, *self.size), code.dtype)
        return maps, lambda dmaps: np.zeros_like(code)


class PositionMaps(Module):
    """Decoder of a model without a latent whose pixels know their position: maps[n] = w.

    The values w, one for each map and pixel, are learned and start at 0. All images n share them:
    dw = sum_n dmaps[n].   code (N, 0), w (M, H, W) -> maps (N, M, H, W)
    """

    def __init__(self, config: VLAEConfig, *, dtype: DTypeLike = "float64") -> None:
        shape = config.position_maps, *config.sizes[0]
        self.weight = Parameter(np.zeros(shape, as_dtype(dtype)))

    def forward(self, code: Array) -> tuple[Array, Vjp]:
        maps = np.repeat(self.weight.data[None], len(code), 0)

        def vjp(dmaps: Array) -> Array:
            self.weight.grad += dmaps.sum(0)
            return np.zeros_like(code)

        return maps, vjp


def make_networks(config: VLAEConfig, **factory_kwargs: Any) -> tuple[Any, Any]:
    """The encoder and the decoder of `config`; without a latent, ones that read nothing."""
    if config.latent == "none" and config.position_maps:
        return NoEncoder(), PositionMaps(config, **factory_kwargs)
    if config.latent == "none":
        return NoEncoder(), NoDecoder(config)
    if config.latent_maps:
        return MapEncoder(config, **factory_kwargs), MapDecoder(config, **factory_kwargs)
    return Encoder(config, **factory_kwargs), Decoder(config, **factory_kwargs)
