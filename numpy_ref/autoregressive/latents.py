"""The latents of the VLAE: prior p(z), what the decoder reads of z, its KL and the free bits.

z = mu + exp(logvar / 2) eps is drawn from the encoder's Gaussian q(z|x). All three latents keep one
interface: `forward` for the loss, `kl_sampled` for importance weights, `generate` for samples.
Shapes: mu, logvar (N, Z), z and eps (N, Z) in `forward` and (N, K, Z) in `kl_sampled`. Free bits
take kl (N, G), nats, the KL of each image in the G parts that it splits into, and give a number.
Right panel: torch_impl/autoregressive/latents.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.key import Key
from model_specs.vlae import GAMMA_LEAST, GAMMA_STEP, SOFT_MARGIN, VLAEConfig
from numpy_ref.autoregressive.flow import AutoregressiveFlow
from numpy_ref.nn.module import Array, Buffer, Module, Vjp
from numpy_ref.probability.distributions import gaussian_kl, gaussian_kl_sampled


class AllBits(Module):
    """mean_n sum_g kl[n, g]: no bits are free."""

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        share = 1 / len(kl)
        return share * kl.sum(), lambda d: np.full_like(kl, share * d)


class TotalFreeBits(AllBits):
    """max(lambda, mean_n sum_g kl[n, g]) in training; in evaluation no bits are free.

    The derivative at lambda is that from above, as torch takes it: a lambda of 0 changes nothing.
    Source: Kingma et al. (2016), arXiv 1606.04934, with all latents as one group.
    """

    def __init__(self, free: float) -> None:
        self.free = free

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        mean, vjp = super().forward(kl)
        if not self.training:
            return mean, vjp
        return np.maximum(mean, self.free), lambda d: vjp(d * (mean >= self.free))


class LatentFreeBits(AllBits):
    """sum_g max(lambda / G, mean_n kl[n, g]) in training; in evaluation no bits are free.

    The derivative at lambda / G is that from above, as in TotalFreeBits.
    Source: Kingma et al. (2016), arXiv 1606.04934, with each part as a group.
    """

    def __init__(self, free: float) -> None:
        self.free = free

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        if not self.training:
            return super().forward(kl)
        means, each = kl.mean(0), self.free / kl.shape[1]

        def vjp(d: Array) -> Array:
            return np.broadcast_to(d * (means >= each) / len(kl), kl.shape)

        return np.maximum(means, each).sum(), vjp


class SoftFreeBits(AllBits):
    """gamma mean_n sum_g kl[n, g] in training, gamma in [1e-3, 1] moved after each use:

        gamma <- min(1, 1.1 gamma) where that mean is above 1.05 lambda,
        gamma <- max(1e-3, gamma / 1.1) where it is below lambda

    In evaluation gamma is 1, and stays what it was. It is a buffer, as running averages are.
    Source: Chen et al. (2016), arXiv 1611.02731: steps of 10 %. The least gamma is ours:
    where the KL stays below lambda, gamma would fall for ever.
    """

    def __init__(self, free: float, dtype: DTypeLike = np.float64) -> None:
        self.free = free
        self.gamma = Buffer(np.ones((), dtype))

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        mean, vjp = super().forward(kl)
        if not self.training:
            return mean, vjp
        gamma = self.gamma.data.copy()
        up = min(gamma * GAMMA_STEP, 1.0) if mean > SOFT_MARGIN * self.free else gamma
        down = max(gamma / GAMMA_STEP, GAMMA_LEAST)
        self.gamma.data[...] = down if mean < self.free else up
        return gamma * mean, lambda d: vjp(gamma * d)


def make_free_bits(config: VLAEConfig, dtype: DTypeLike) -> AllBits:
    """What `config.free_bits_of` names; without a z there is nothing to charge for."""
    make: dict[str, Callable[[], AllBits]] = {
        "none": AllBits,
        "total": lambda: TotalFreeBits(config.free_nats),
        "latent": lambda: LatentFreeBits(config.free_nats),
        "soft": lambda: SoftFreeBits(config.free_nats, dtype),
    }
    return make["none" if config.latent == "none" else config.free_bits_of]()


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
