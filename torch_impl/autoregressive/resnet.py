"""The ResNet VAE: residual blocks of weight-normalised convolutions, its encoder and its decoder.

Shapes: x (N, C, H, W), mu and logvar (N, Z), code (N, Z), maps (N, M, H, W): N images of H x W
pixels and C channels, Z latents, M context maps. A code of maps is flat too, in the order of
config.code_shape.
Left panel: numpy_ref/autoregressive/resnet.py
Sources: He et al., "Identity mappings in deep residual networks" (2016), arXiv 1603.05027; the
ResNet VAE of Kingma et al. (2016), arXiv 1606.04934, in the sizes of Chen et al. (2016) for MNIST.
Own design: the layers next to a code of maps, of which Chen et al. give only the size.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from model_specs.vlae import VLAEConfig
from torch_impl.nn.module import as_dtype
from torch_impl.nn.weight_norm import WNConv2d, WNConvTranspose2d, WNLinear


class Residual(nn.Module):
    """y = skip(x) + branch(x), the branch f_n(elu(... f_1(elu(x)))); without a skip, x + branch(x).

    Shapes: x (N, C, H, W) -> the shape of the branch's output; without a skip, the shape of x.
    """

    def __init__(self, *branch: nn.Module, skip: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        residual = self.branch(x)
        if self.skip is None:
            return x + residual
        shortcut = self.skip(x)
        return shortcut + residual


def flat_block(channels: int, kernel_size: int = 3, **factory_kwargs: Any) -> Residual:
    """A residual block of two convolutions that keeps the size and the number of the maps."""
    conv: Any = partial(WNConv2d, padding=kernel_size // 2, **factory_kwargs)
    return Residual(
        nn.ELU(),
        conv(channels, channels, kernel_size),
        nn.ELU(),
        conv(channels, channels, kernel_size),
    )


def input_block(in_channels: int, out_channels: int, **factory_kwargs: Any) -> Residual:
    """`down_block` for an image, without the first ELU, which keeps pixels of 0 and 1."""
    conv: Any = partial(WNConv2d, kernel_size=3, padding=1, **factory_kwargs)
    return Residual(
        conv(in_channels, out_channels, stride=2),
        nn.ELU(),
        conv(out_channels, out_channels),
        skip=conv(in_channels, out_channels, stride=2),
    )


def down_block(in_channels: int, out_channels: int, **factory_kwargs: Any) -> Residual:
    """A residual block that halves the images' size, rounded up, by convolutions of stride 2."""
    conv: Any = partial(WNConv2d, kernel_size=3, padding=1, **factory_kwargs)
    return Residual(
        nn.ELU(),
        conv(in_channels, out_channels, stride=2),
        nn.ELU(),
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
        nn.ELU(),
        conv_transpose(in_channels, out_channels),
        nn.ELU(),
        conv(out_channels, out_channels),
        skip=conv_transpose(in_channels, out_channels),
    )


def encoder_blocks(config: VLAEConfig, **factory_kwargs: Any) -> nn.Sequential:
    """`config.strides` blocks of stride 2, with flat blocks between them."""
    channels, *maps = config.encoder_maps
    blocks = [input_block(channels, maps[0], **factory_kwargs)]
    for before, after in pairwise(maps):
        blocks.append(flat_block(before, **factory_kwargs))
        blocks.append(down_block(before, after, **factory_kwargs))
    return nn.Sequential(*blocks)


def decoder_blocks(config: VLAEConfig, **factory_kwargs: Any) -> nn.Sequential:
    """The blocks of `encoder_blocks` mirrored; the last gives the context maps."""
    maps, (*sizes, image) = config.encoder_maps[:0:-1], config.sizes[-2::-1]
    blocks = []
    for (before, after), size in zip(pairwise(maps), sizes, strict=True):
        blocks.append(up_block(before, after, size, **factory_kwargs))
        blocks.append(flat_block(after, **factory_kwargs))
    blocks.append(up_block(maps[-1], config.context_maps, image, **factory_kwargs))
    return nn.Sequential(*blocks)


class Encoder(nn.Module):
    """Mean and log-variance of q(z|x), z a vector: blocks of stride 2, a hidden layer, and a linear
    layer each for the mean and the log-variance."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        H, Z = config.hidden_dim, config.latent_dim
        linear: Any = partial(WNLinear, **factory_kwargs)
        self.blocks = encoder_blocks(config, **factory_kwargs)
        self.hidden = nn.Sequential(nn.ELU(), linear(config.features, H), nn.ELU())
        self.mu = linear(H, Z)
        self.logvar = linear(H, Z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(self.blocks(x).flatten(1))
        return self.mu(h), self.logvar(h)


class Decoder(nn.Module):
    """Context maps of a code, a vector, by the encoder's sizes and maps in reverse order."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        H, Z = config.hidden_dim, config.latent_dim
        linear: Any = partial(WNLinear, **factory_kwargs)
        self.shape = config.encoder_maps[-1], *config.sizes[-1]
        self.hidden = nn.Sequential(linear(Z, H), nn.ELU(), linear(H, config.features))
        self.blocks = decoder_blocks(config, **factory_kwargs)

    def forward(self, code: Tensor) -> Tensor:
        return self.blocks(self.hidden(code).reshape(-1, *self.shape))


class MapEncoder(nn.Module):
    """Mean and log-variance of q(z|x), z maps: blocks of stride 2, and a 3 x 3 convolution each for
    the mean and the log-variance."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        maps = config.encoder_maps[-1], config.latent_maps
        conv: Any = partial(WNConv2d, kernel_size=3, padding=1, **factory_kwargs)
        self.blocks = encoder_blocks(config, **factory_kwargs)
        self.hidden = nn.ELU()
        self.mu = conv(*maps)
        self.logvar = conv(*maps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(self.blocks(x))
        mu = self.mu(h)
        logvar = self.logvar(h)
        return mu.flatten(1), logvar.flatten(1)


class MapDecoder(nn.Module):
    """Context maps of a code, maps: a 3 x 3 convolution, and the encoder's blocks mirrored."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        maps = config.latent_maps, config.encoder_maps[-1]
        self.shape = config.code_shape
        self.first = WNConv2d(*maps, 3, padding=1, **factory_kwargs)
        self.blocks = decoder_blocks(config, **factory_kwargs)

    def forward(self, code: Tensor) -> Tensor:
        return self.blocks(self.first(code.reshape(-1, *self.shape)))


class NoEncoder(nn.Module):
    """Encoder of a model without a latent: mu and logvar have shape (N, 0)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        empty = x.new_zeros((len(x), 0))
        return empty, empty


class NoDecoder(nn.Module):
    """Decoder of a model without a latent: maps have shape (N, 0, H, W)."""

    def __init__(self, config: VLAEConfig) -> None:
        super().__init__()
        self.size = config.sizes[0]

    def forward(self, code: Tensor) -> Tensor:
        return code.new_zeros((len(code), 0, *self.size))


class PositionMaps(nn.Module):
    """Decoder of a model without a latent whose pixels know their position: maps[n] = w.

    The values w, one for each map and pixel, are learned and start at 0. All images n share them.
    code (N, 0), w (M, H, W) -> maps (N, M, H, W)
    """

    def __init__(
        self,
        config: VLAEConfig,
        *,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        shape = config.position_maps, *config.sizes[0]
        self.weight = nn.Parameter(
            torch.zeros(shape, dtype=as_dtype(dtype), device=device or "cpu")
        )

    def forward(self, code: Tensor) -> Tensor:
        maps = self.weight.expand(len(code), *self.weight.shape)
        return maps


def make_networks(config: VLAEConfig, **factory_kwargs: Any) -> tuple[Any, Any]:
    """The encoder and the decoder of `config`; without a latent, ones that read nothing."""
    if config.latent == "none" and config.position_maps:
        return NoEncoder(), PositionMaps(config, **factory_kwargs)
    if config.latent == "none":
        return NoEncoder(), NoDecoder(config)
    if config.latent_maps:
        return MapEncoder(config, **factory_kwargs), MapDecoder(config, **factory_kwargs)
    return Encoder(config, **factory_kwargs), Decoder(config, **factory_kwargs)
