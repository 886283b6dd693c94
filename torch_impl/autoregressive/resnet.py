"""The ResNet VAE: residual blocks of weight-normalised convolutions, its encoder and its decoder.

Shapes: x (N, 1, H, W), mu and logvar (N, Z), code (N, Z), maps (N, M, H, W): N images of H x W
pixels, Z latents, M context maps, C channels.
Left panel: numpy_ref/autoregressive/resnet.py
Sources: He et al., "Identity mappings in deep residual networks" (2016), arXiv 1603.05027; the
ResNet VAE of Kingma et al. (2016), arXiv 1606.04934, in the sizes of Chen et al. (2016) for MNIST.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from model_specs.vlae import VLAEConfig
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


class Encoder(nn.Module):
    """Mean and log-variance of q(z|x): three blocks of stride 2 with flat blocks between them, a
    hidden layer, and one linear layer each for the mean and the log-variance."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        _, a, b, c = config.encoder_maps
        H, Z = config.hidden_dim, config.latent_dim
        linear: Any = partial(WNLinear, **factory_kwargs)
        self.blocks = nn.Sequential(
            input_block(1, a, **factory_kwargs),
            flat_block(a, **factory_kwargs),
            down_block(a, b, **factory_kwargs),
            flat_block(b, **factory_kwargs),
            down_block(b, c, **factory_kwargs),
        )
        self.hidden = nn.Sequential(nn.ELU(), linear(config.features, H), nn.ELU())
        self.mu = linear(H, Z)
        self.logvar = linear(H, Z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(self.blocks(x).flatten(1))
        return self.mu(h), self.logvar(h)


class Decoder(nn.Module):
    """Context maps of a code, by the encoder's sizes and channels in reverse order."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        _, a, b, c = config.encoder_maps
        H, Z = config.hidden_dim, config.latent_dim
        large, half, quarter, small = config.sizes
        linear: Any = partial(WNLinear, **factory_kwargs)
        self.shape = c, *small
        self.hidden = nn.Sequential(linear(Z, H), nn.ELU(), linear(H, config.features))
        self.blocks = nn.Sequential(
            up_block(c, b, quarter, **factory_kwargs),
            flat_block(b, **factory_kwargs),
            up_block(b, a, half, **factory_kwargs),
            flat_block(a, **factory_kwargs),
            up_block(a, config.context_maps, large, **factory_kwargs),
        )

    def forward(self, code: Tensor) -> Tensor:
        return self.blocks(self.hidden(code).reshape(-1, *self.shape))


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


def make_networks(
    config: VLAEConfig, **factory_kwargs: Any
) -> tuple[Encoder | NoEncoder, Decoder | NoDecoder]:
    """The encoder and the decoder of `config`; without a latent, ones of no output."""
    if config.latent == "none":
        return NoEncoder(), NoDecoder(config)
    return Encoder(config, **factory_kwargs), Decoder(config, **factory_kwargs)
