"""The ResNet VAE: residual blocks of weight-normalised convolutions, its encoder and its decoder.

Shapes: x (N, 1, H, W), mu and logvar (N, Z), code (N, Z), maps (N, M, H, W), M context maps.
Right panel: torch_impl/autoregressive/resnet.py
Sources: He et al., "Identity mappings in deep residual networks" (2016), arXiv 1603.05027; the
ResNet VAE of Kingma et al. (2016), arXiv 1606.04934, in the sizes of Chen et al. (2016) for MNIST.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model_specs.vlae import VLAEConfig
from numpy_ref.nn.layers import ELU
from numpy_ref.nn.module import Array, Module, Sequential, Vjp
from numpy_ref.nn.weight_norm import WNConv2d, WNConvTranspose2d, WNLinear


class Residual(Module):
    """y = skip(x) + branch(x), the branch f_n(elu(... f_1(elu(x)))); without a skip, x itself.

    Shapes: x (N, C, H, W) -> as the layers say; all images of one size unless there is a skip.
    """

    def __init__(self, *branch: Module, skip: Module | None = None) -> None:
        self.branch = Sequential(*branch)
        self.skip = skip

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        y, vjp = self.branch(x)
        if self.skip is None:
            return x + y, lambda dy: dy + vjp(dy)
        skipped, skip_vjp = self.skip(x)

        def both(dy: Array) -> Array | None:
            dskip, dbranch = skip_vjp(dy), vjp(dy)
            return None if dskip is None else dskip + dbranch  # None: the layers read data

        return skipped + y, both


def flat(channels: int, kernel_size: int = 3, **factory_kwargs: Any) -> Residual:
    """Two convolutions that keep the images' size and number."""
    same = channels, channels, kernel_size, 1, kernel_size // 2
    return Residual(
        ELU(), WNConv2d(*same, **factory_kwargs), ELU(), WNConv2d(*same, **factory_kwargs)
    )


def first(channels: int, out: int, **factory_kwargs: Any) -> Residual:
    """`down` for images that are data: elu changes nothing in a pixel of 0 or 1."""
    halved = channels, out, 3, 2, 1
    return Residual(
        WNConv2d(*halved, input_grad=False, **factory_kwargs),
        ELU(),
        WNConv2d(out, out, 3, 1, 1, **factory_kwargs),
        skip=WNConv2d(*halved, input_grad=False, **factory_kwargs),
    )


def down(channels: int, out: int, **factory_kwargs: Any) -> Residual:
    """Images of half the size, rounded up, by 3 x 3 convolutions of stride 2; one is the skip."""
    halved = channels, out, 3, 2, 1
    return Residual(
        ELU(),
        WNConv2d(*halved, **factory_kwargs),
        ELU(),
        WNConv2d(out, out, 3, 1, 1, **factory_kwargs),
        skip=WNConv2d(*halved, **factory_kwargs),
    )


def up(channels: int, out: int, size: tuple[int, int], **factory_kwargs: Any) -> Residual:
    """Images of `size`, which is twice what comes in, or one less: the way back of `down`."""
    height, width = size
    doubled = channels, out, 3, 2, 1, (1 - height % 2, 1 - width % 2)
    return Residual(
        ELU(),
        WNConvTranspose2d(*doubled, **factory_kwargs),
        ELU(),
        WNConv2d(out, out, 3, 1, 1, **factory_kwargs),
        skip=WNConvTranspose2d(*doubled, **factory_kwargs),
    )


class Encoder(Module):
    """Three blocks of stride 2, a flat one between them, a hidden layer, then mu and logvar."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        _, a, b, c = config.channels
        H, Z = config.hidden_dim, config.latent_dim
        self.blocks = Sequential(
            first(1, a, **factory_kwargs),
            flat(a, **factory_kwargs),
            down(a, b, **factory_kwargs),
            flat(b, **factory_kwargs),
            down(b, c, **factory_kwargs),
        )
        self.hidden = Sequential(ELU(), WNLinear(config.features, H, **factory_kwargs), ELU())
        self.mu = WNLinear(H, Z, **factory_kwargs)
        self.logvar = WNLinear(H, Z, **factory_kwargs)

    def forward(self, x: Array) -> tuple[tuple[Array, Array], Vjp]:
        images, blocks_vjp = self.blocks(x)
        h, hidden_vjp = self.hidden(images.reshape(len(x), -1))
        mu, mu_vjp = self.mu(h)
        logvar, logvar_vjp = self.logvar(h)

        def vjp(dmu: Array, dlogvar: Array) -> Array:
            dimages = hidden_vjp(mu_vjp(dmu) + logvar_vjp(dlogvar))
            return blocks_vjp(dimages.reshape(images.shape))

        return (mu, logvar), vjp


class Decoder(Module):
    """The encoder's mirror: a hidden layer, then the way back through its sizes and channels."""

    def __init__(self, config: VLAEConfig, **factory_kwargs: Any) -> None:
        _, a, b, c = config.channels
        H, Z = config.hidden_dim, config.latent_dim
        large, half, quarter, small = config.sizes
        self.shape = c, *small
        self.hidden = Sequential(
            WNLinear(Z, H, **factory_kwargs), ELU(), WNLinear(H, config.features, **factory_kwargs)
        )
        self.blocks = Sequential(
            up(c, b, quarter, **factory_kwargs),
            flat(b, **factory_kwargs),
            up(b, a, half, **factory_kwargs),
            flat(a, **factory_kwargs),
            up(a, config.context_maps, large, **factory_kwargs),
        )

    def forward(self, code: Array) -> tuple[Array, Vjp]:
        h, hidden_vjp = self.hidden(code)
        maps, blocks_vjp = self.blocks(h.reshape(-1, *self.shape))
        return maps, lambda dmaps: hidden_vjp(blocks_vjp(dmaps).reshape(h.shape))


class NoEncoder(Module):
    """Of a model without z: mu and logvar (N, 0)."""

    def forward(self, x: Array) -> tuple[tuple[Array, Array], Vjp]:
        nothing = np.zeros((len(x), 0), x.dtype)
        return (nothing, nothing), lambda dmu, dlogvar: np.zeros_like(x)


class NoDecoder(Module):
    """Of a model without z: maps (N, 0, H, W)."""

    def __init__(self, config: VLAEConfig) -> None:
        self.size = config.sizes[0]

    def forward(self, code: Array) -> tuple[Array, Vjp]:
        maps = np.zeros((len(code), 0, *self.size), code.dtype)
        return maps, lambda dmaps: np.zeros_like(code)


def make_networks(
    config: VLAEConfig, **factory_kwargs: Any
) -> tuple[Encoder | NoEncoder, Decoder | NoDecoder]:
    """Both, or of a model without z neither."""
    if config.latent == "none":
        return NoEncoder(), NoDecoder(config)
    return Encoder(config, **factory_kwargs), Decoder(config, **factory_kwargs)
