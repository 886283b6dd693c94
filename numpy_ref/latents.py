"""What z is: its prior p(z), what the decoder reads of it, and what that costs.

z = mu + exp(logvar / 2) eps is drawn from the encoder's Gaussian q(z|x). All three keep one
interface: `forward` for the loss, `kl_sampled` for importance weights, `generate` for samples.
Shapes: mu, logvar (N, Z), z and eps (N, Z) in `forward` and (N, K, Z) in `kl_sampled`. Nats.
Right panel: torch_impl/latents.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from model_specs.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.autoregressive_flow import AutoregressiveFlow
from numpy_ref.distributions import gaussian_kl, gaussian_kl_sampled
from numpy_ref.module import Array, Module, Vjp


class GaussianPrior(Module):
    """p(z) = N(0, I); the decoder reads z."""

    def forward(
        self, mu: Array, logvar: Array, z: Array, eps: Array
    ) -> tuple[tuple[Array, Array], Vjp]:
        """What the decoder reads (N, Z), and the KL of each dimension, in closed form (N, Z)."""
        kl, kl_vjp = gaussian_kl(mu[..., None], logvar[..., None])

        def vjp(dcode: Array, dkl: Array) -> tuple[Array, Array, Array]:
            dmu, dlogvar = kl_vjp(dkl)
            return dmu[..., 0], dlogvar[..., 0], dcode

        return (z, kl), vjp

    def kl_sampled(self, logvar: Array, z: Array, eps: Array) -> tuple[Array, Array]:
        """What the decoder reads (N, K, Z), and log q - log p at each z (N, K); values only."""
        return z, gaussian_kl_sampled(logvar, z, eps)[0]

    def generate(self, eps: Array) -> Array:
        """What the decoder reads of eps ~ N(0, I); value only.   (N, Z) -> (N, Z)"""
        return eps


class FlowPrior(Module):
    """p(z) = N(f(z); 0, I) |det df/dz|, f an autoregressive flow; the decoder reads z.

    Source: Chen et al. (2016), arXiv 1611.02731, section 3.2.
    """

    def __init__(self, config: VLAEConfig, key: Key, dtype: DTypeLike = np.float64) -> None:
        self.flow = AutoregressiveFlow(config.flow, key, dtype)

    def forward(
        self, mu: Array, logvar: Array, z: Array, eps: Array
    ) -> tuple[tuple[Array, Array], Vjp]:
        """What the decoder reads (N, Z), and log q(z|x) - log p(z) at this z (N, 1)."""
        (u, logdet), flow_vjp = self.flow(z)
        kl, kl_vjp = gaussian_kl_sampled(logvar, u[:, None], eps[:, None])

        def vjp(dcode: Array, dkl: Array) -> tuple[float, Array, Array]:
            dlogvar, du = kl_vjp(dkl)
            du_code, dz_code = self._read_vjp(dcode)
            dz = flow_vjp(du[:, 0] + du_code, -dkl[:, 0]) + dz_code
            return 0.0, dlogvar, dz

        return (self._read(u, z), kl - logdet[:, None]), vjp

    def kl_sampled(self, logvar: Array, z: Array, eps: Array) -> tuple[Array, Array]:
        """What the decoder reads (N, K, Z), and log q - log p at each z (N, K); values only."""
        (u, logdet), _ = self.flow(z)
        return self._read(u, z), gaussian_kl_sampled(logvar, u, eps)[0] - logdet

    def generate(self, eps: Array) -> Array:
        """What the decoder reads of eps ~ N(0, I); value only.   (N, Z) -> (N, Z)"""
        return self.flow.inverse(eps)

    def _read(self, u: Array, z: Array) -> Array:
        return z

    def _read_vjp(self, dcode: Array) -> tuple[Array | float, Array | float]:
        return 0.0, dcode


class FlowPosterior(FlowPrior):
    """p(u) = N(0, I), q(u|x) that of u = f(z); the decoder reads u.

    The same numbers cost the same: log q(u|x) - log p(u) is log q(z|x) - log |det df/dz| -
    log N(f(z); 0, I). With a decoder that turns u back into z it is the FlowPrior.
    Source: Kingma et al. (2016), arXiv 1606.04934; without their context h in the flow.
    """

    def generate(self, eps: Array) -> Array:
        """What the decoder reads of eps ~ N(0, I); value only.   (N, Z) -> (N, Z)"""
        return eps

    def _read(self, u: Array, z: Array) -> Array:
        return u

    def _read_vjp(self, dcode: Array) -> tuple[Array | float, Array | float]:
        return dcode, 0.0


def make_latent(config: VLAEConfig, key: Key, dtype: DTypeLike) -> GaussianPrior | FlowPrior:
    """What `config.latent` names; no z is a Gaussian one of no dimensions."""
    make: dict[str, Callable[[], GaussianPrior | FlowPrior]] = {
        "none": GaussianPrior,
        "gaussian": GaussianPrior,
        "af_prior": lambda: FlowPrior(config, key, dtype),
        "iaf_posterior": lambda: FlowPosterior(config, key, dtype),
    }
    return make[config.latent]()
