"""The latents of the VLAE: prior p(z), what the decoder reads of z, its KL and the free bits.

z = mu + exp(logvar / 2) eps is drawn from the encoder's Gaussian q(z|x). All three latents keep one
interface: `forward` for the loss, `kl_sampled` for importance weights, `generate` for samples.
Shapes: mu, logvar (N, Z), z and eps (N, Z) in `forward` and (N, K, Z) in `kl_sampled`. Free bits
take kl (N, G), nats, the KL of each image in the G parts that it splits into, and give a number.
Left panel: numpy_ref/autoregressive/latents.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model_specs.common.key import Key
from model_specs.vlae import GAMMA_LEAST, GAMMA_STEP, SOFT_MARGIN, VLAEConfig
from torch_impl.autoregressive.flow import AutoregressiveFlow
from torch_impl.probability.distributions import gaussian_kl, gaussian_kl_sampled


class AllBits(nn.Module):
    """mean_n sum_g kl[n, g]: no bits are free."""

    def forward(self, kl: Tensor) -> Tensor:
        return kl.sum() / len(kl)


class TotalFreeBits(AllBits):
    """max(lambda, mean_n sum_g kl[n, g]) in training; in evaluation no bits are free.

    The derivative at lambda is that from above, as torch takes it: a lambda of 0 changes nothing.
    Source: Kingma et al. (2016), arXiv 1606.04934, with all latents as one group.
    """

    def __init__(self, free: float) -> None:
        super().__init__()
        self.free = free

    def forward(self, kl: Tensor) -> Tensor:
        mean = super().forward(kl)
        return mean.clamp(min=self.free) if self.training else mean


class LatentFreeBits(AllBits):
    """sum_g max(lambda / G, mean_n kl[n, g]) in training; in evaluation no bits are free.

    The derivative at lambda / G is that from above, as in TotalFreeBits.
    Source: Kingma et al. (2016), arXiv 1606.04934, with each part as a group.
    """

    def __init__(self, free: float) -> None:
        super().__init__()
        self.free = free

    def forward(self, kl: Tensor) -> Tensor:
        if not self.training:
            return super().forward(kl)
        return kl.mean(0).clamp(min=self.free / kl.shape[1]).sum()


class SoftFreeBits(AllBits):
    """gamma mean_n sum_g kl[n, g] in training, gamma in [1e-3, 1] moved after each use:

        gamma <- min(1, 1.1 gamma) where that mean is above 1.05 lambda,
        gamma <- max(1e-3, gamma / 1.1) where it is below lambda

    In evaluation gamma is 1, and stays what it was. It is a buffer, as running averages are.
    Source: Chen et al. (2016), arXiv 1611.02731: steps of 10 %. The least gamma is ours:
    where the KL stays below lambda, gamma would fall for ever.
    """

    gamma: Tensor

    def __init__(self, free: float, dtype: Any = torch.float64, device: Any = None) -> None:
        super().__init__()
        self.free = free
        self.register_buffer("gamma", torch.ones((), dtype=dtype, device=device))

    def forward(self, kl: Tensor) -> Tensor:
        mean = super().forward(kl)
        if not self.training:
            return mean
        gamma = self.gamma.clone()
        with torch.no_grad():  # no branch on a number that may be on a GPU
            up = torch.where(mean > SOFT_MARGIN * self.free, gamma * GAMMA_STEP, gamma)
            down = (gamma / GAMMA_STEP).clamp(min=GAMMA_LEAST)
            self.gamma.copy_(torch.where(mean < self.free, down, up.clamp(max=1)))
        return gamma * mean


def make_free_bits(config: VLAEConfig, **factory_kwargs: Any) -> AllBits:
    """What `config.free_bits_of` names; without a z there is nothing to charge for."""
    make: dict[str, Callable[[], AllBits]] = {
        "none": AllBits,
        "total": lambda: TotalFreeBits(config.free_nats),
        "latent": lambda: LatentFreeBits(config.free_nats),
        "soft": lambda: SoftFreeBits(config.free_nats, **factory_kwargs),
    }
    return make["none" if config.latent == "none" else config.free_bits_of]()


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

    def __init__(self, config: VLAEConfig, key: Key, **factory_kwargs: Any) -> None:
        super().__init__()
        self.flow = AutoregressiveFlow(config.flow, key, **factory_kwargs)

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


def make_latent(config: VLAEConfig, key: Key, **factory_kwargs: Any) -> GaussianPrior | FlowPrior:
    """What `config.latent` names; no z is a Gaussian one of no dimensions."""
    make: dict[str, Callable[[], GaussianPrior | FlowPrior]] = {
        "none": GaussianPrior,
        "gaussian": GaussianPrior,
        "af_prior": lambda: FlowPrior(config, key, **factory_kwargs),
        "iaf_posterior": lambda: FlowPosterior(config, key, **factory_kwargs),
    }
    return make[config.latent]()
