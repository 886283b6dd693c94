"""What z is: its prior p(z), what the decoder reads of it, and what that costs.

z = mu + exp(logvar / 2) eps is drawn from the encoder's Gaussian q(z|x). All three keep one
interface: `forward` for the loss, `kl_sampled` for importance weights, `generate` for samples.
Shapes: mu, logvar (N, Z), z and eps (N, Z) in `forward` and (N, K, Z) in `kl_sampled`. Nats.
Left panel: numpy_ref/latents.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from model_specs.key import Key
from model_specs.vlae import VLAEConfig
from torch_impl.autoregressive_flow import AutoregressiveFlow
from torch_impl.distributions import gaussian_kl, gaussian_kl_sampled


class GaussianPrior(nn.Module):
    """p(z) = N(0, I); the decoder reads z."""

    def forward(self, mu: Tensor, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder reads (N, Z), and the KL of each dimension, in closed form (N, Z)."""
        return z, gaussian_kl(mu[..., None], logvar[..., None])

    def kl_sampled(self, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder reads (N, K, Z), and log q - log p at each z (N, K)."""
        return z, gaussian_kl_sampled(logvar, z, eps)

    def generate(self, eps: Tensor) -> Tensor:
        """What the decoder reads of eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return eps


class FlowPrior(nn.Module):
    """p(z) = N(f(z); 0, I) |det df/dz|, f an autoregressive flow; the decoder reads z.

    Source: Chen et al. (2016), arXiv 1611.02731, section 3.2.
    """

    def __init__(self, config: VLAEConfig, key: Key, **where: Any) -> None:
        super().__init__()
        self.flow = AutoregressiveFlow(config.flow, key, **where)

    def forward(self, mu: Tensor, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder reads (N, Z), and log q(z|x) - log p(z) at this z (N, 1)."""
        u, logdet = self.flow(z)
        kl = gaussian_kl_sampled(logvar, u[:, None], eps[:, None])
        return self._read(u, z), kl - logdet[:, None]

    def kl_sampled(self, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder reads (N, K, Z), and log q - log p at each z (N, K)."""
        u, logdet = self.flow(z)
        return self._read(u, z), gaussian_kl_sampled(logvar, u, eps) - logdet

    def generate(self, eps: Tensor) -> Tensor:
        """What the decoder reads of eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return self.flow.inverse(eps)

    def _read(self, u: Tensor, z: Tensor) -> Tensor:
        return z


class FlowPosterior(FlowPrior):
    """p(u) = N(0, I), q(u|x) that of u = f(z); the decoder reads u.

    The same numbers cost the same: log q(u|x) - log p(u) is log q(z|x) - log |det df/dz| -
    log N(f(z); 0, I). With a decoder that turns u back into z it is the FlowPrior.
    Source: Kingma et al. (2016), arXiv 1606.04934; without their context h in the flow.
    """

    def generate(self, eps: Tensor) -> Tensor:
        """What the decoder reads of eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return eps

    def _read(self, u: Tensor, z: Tensor) -> Tensor:
        return u


def make_latent(config: VLAEConfig, key: Key, **where: Any) -> GaussianPrior | FlowPrior:
    """What `config.latent` names; no z is a Gaussian one of no dimensions."""
    make: dict[str, Callable[[], GaussianPrior | FlowPrior]] = {
        "none": GaussianPrior,
        "gaussian": GaussianPrior,
        "af_prior": lambda: FlowPrior(config, key, **where),
        "iaf_posterior": lambda: FlowPosterior(config, key, **where),
    }
    return make[config.latent]()
