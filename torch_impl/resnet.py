"""The ResNet VAE's two networks: image -> q(z|x), and code -> maps.

Shapes: x (N, 1, H, W), mu and logvar (N, Z), code (N, Z), maps (N, M, H, W), M maps handed over.
Left panel: numpy_ref/resnet.py
Source: Kingma et al. (2016), arXiv 1606.04934, in the sizes of Chen et al. (2016) for MNIST.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from model_specs.vlae import VLAEConfig
from torch_impl.residual import down, first, flat, up
from torch_impl.weight_norm import WNLinear


class Encoder(nn.Module):
    """Three blocks of stride 2, a flat one between them, a hidden layer, then mu and logvar."""

    def __init__(self, config: VLAEConfig, **where: Any) -> None:
        super().__init__()
        _, a, b, c = config.channels
        H, Z = config.hidden_dim, config.latent_dim
        self.blocks = nn.Sequential(
            first(1, a, **where), flat(a, **where), down(a, b, **where), flat(b, **where),
            down(b, c, **where),
        )  # fmt: skip
        self.hidden = nn.Sequential(nn.ELU(), WNLinear(config.features, H, **where), nn.ELU())
        self.mu = WNLinear(H, Z, **where)
        self.logvar = WNLinear(H, Z, **where)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(self.blocks(x).flatten(1))
        return self.mu(h), self.logvar(h)


class Decoder(nn.Module):
    """The encoder's mirror: a hidden layer, then the way back through its sizes and channels."""

    def __init__(self, config: VLAEConfig, **where: Any) -> None:
        super().__init__()
        _, a, b, c = config.channels
        H, Z = config.hidden_dim, config.latent_dim
        large, half, quarter, small = config.sizes
        self.shape = c, *small
        self.hidden = nn.Sequential(
            WNLinear(Z, H, **where), nn.ELU(), WNLinear(H, config.features, **where)
        )
        self.blocks = nn.Sequential(
            up(c, b, quarter, **where), flat(b, **where), up(b, a, half, **where), flat(a, **where),
            up(a, config.handed_over, large, **where),
        )  # fmt: skip

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
    config: VLAEConfig, **where: Any
) -> tuple[Encoder | NoEncoder, Decoder | NoDecoder]:
    """Both, or of a model without z neither."""
    if config.latent == "none":
        return NoEncoder(), NoDecoder(config)
    return Encoder(config, **where), Decoder(config, **where)
