"""The ResNet VAE: residual blocks of weight-normalised convolutions, its encoder and its decoder.

Shapes: x (N, 1, H, W), mu and logvar (N, Z), code (N, Z), maps (N, M, H, W), M context maps.
Left panel: numpy_ref/autoregressive/resnet.py
Sources: He et al., "Identity mappings in deep residual networks" (2016), arXiv 1603.05027; the
ResNet VAE of Kingma et al. (2016), arXiv 1606.04934, in the sizes of Chen et al. (2016) for MNIST.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from model_specs.vlae import VLAEConfig
from torch_impl.nn.weight_norm import WNConv2d, WNConvTranspose2d, WNLinear


class Residual(nn.Module):
    """y = skip(x) + branch(x), the branch f_n(elu(... f_1(elu(x)))); without a skip, x itself.

    Shapes: x (N, C, H, W) -> as the layers say; all images of one size unless there is a skip.
    """

    def __init__(self, *branch: nn.Module, skip: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        return (x if self.skip is None else self.skip(x)) + y


def flat(channels: int, kernel_size: int = 3, **factory_kwargs: Any) -> Residual:
    """Two convolutions that keep the images' size and number."""
    same = channels, channels, kernel_size, 1, kernel_size // 2
    return Residual(
        nn.ELU(), WNConv2d(*same, **factory_kwargs), nn.ELU(), WNConv2d(*same, **factory_kwargs)
    )


def first(channels: int, out: int, **factory_kwargs: Any) -> Residual:
    """`down` for images that are data: elu changes nothing in a pixel of 0 or 1."""
    halved = channels, out, 3, 2, 1
    return Residual(
        WNConv2d(*halved, **factory_kwargs),
        nn.ELU(),
        WNConv2d(out, out, 3, 1, 1, **factory_kwargs),
        skip=WNConv2d(*halved, **factory_kwargs),
    )


def down(channels: int, out: int, **factory_kwargs: Any) -> Residual:
    """Images of half the size, rounded up, by 3 x 3 convolutions of stride 2; one is the skip."""
    halved = channels, out, 3, 2, 1
    return Residual(
        nn.ELU(),
        WNConv2d(*halved, **factory_kwargs),
        nn.ELU(),
        WNConv2d(out, out, 3, 1, 1, **factory_kwargs),
        skip=WNConv2d(*halved, **factory_kwargs),
    )


def up(channels: int, out: int, size: tuple[int, int], **factory_kwargs: Any) -> Residual:
    """Images of `size`, which is twice what comes in, or one less: the way back of `down`."""
    height, width = size
    doubled = channels, out, 3, 2, 1, (1 - height % 2, 1 - width % 2)
    return Residual(
        nn.ELU(),
        WNConvTranspose2d(*doubled, **factory_kwargs),
        nn.ELU(),
        WNConv2d(out, out, 3, 1, 1, **factory_kwargs),
        skip=WNConvTranspose2d(*doubled, **factory_kwargs),
    )


class Encoder(nn.Module):
    """Three blocks of stride 2, a flat one between them, a hidden layer, then mu and logvar."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        _, a, b, c = config.channels
        H, Z = config.hidden_dim, config.latent_dim
        self.blocks = nn.Sequential(
            first(1, a, **factory_kwargs),
            flat(a, **factory_kwargs),
            down(a, b, **factory_kwargs),
            flat(b, **factory_kwargs),
            down(b, c, **factory_kwargs),
        )
        self.hidden = nn.Sequential(
            nn.ELU(), WNLinear(config.features, H, **factory_kwargs), nn.ELU()
        )
        self.mu = WNLinear(H, Z, **factory_kwargs)
        self.logvar = WNLinear(H, Z, **factory_kwargs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(self.blocks(x).flatten(1))
        return self.mu(h), self.logvar(h)


class Decoder(nn.Module):
    """The encoder's mirror: a hidden layer, then the way back through its sizes and channels."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        super().__init__()
        _, a, b, c = config.channels
        H, Z = config.hidden_dim, config.latent_dim
        large, half, quarter, small = config.sizes
        self.shape = c, *small
        self.hidden = nn.Sequential(
            WNLinear(Z, H, **factory_kwargs),
            nn.ELU(),
            WNLinear(H, config.features, **factory_kwargs),
        )
        self.blocks = nn.Sequential(
            up(c, b, quarter, **factory_kwargs),
            flat(b, **factory_kwargs),
            up(b, a, half, **factory_kwargs),
            flat(a, **factory_kwargs),
            up(a, config.context_maps, large, **factory_kwargs),
        )

    def forward(self, code: Tensor) -> Tensor:
        return self.blocks(self.hidden(code).reshape(-1, *self.shape))


class NoEncoder(nn.Module):
    """Of a model without z: mu and logvar (N, 0)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        nothing = x.new_zeros((len(x), 0))
        return nothing, nothing


class NoDecoder(nn.Module):
    """Of a model without z: maps (N, 0, H, W)."""

    def __init__(self, config: VLAEConfig) -> None:
        super().__init__()
        self.size = config.sizes[0]

    def forward(self, code: Tensor) -> Tensor:
        return code.new_zeros((len(code), 0, *self.size))


def make_networks(
    config: VLAEConfig, **factory_kwargs: Any
) -> tuple[Encoder | NoEncoder, Decoder | NoDecoder]:
    """Both, or of a model without z neither."""
    if config.latent == "none":
        return NoEncoder(), NoDecoder(config)
    return Encoder(config, **factory_kwargs), Decoder(config, **factory_kwargs)
