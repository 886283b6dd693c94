"""The latents of the VLAE with their KL divergence, and its penalty with free bits.

z = mu + exp(logvar / 2) eps is a sample of the encoder's Gaussian q(z|x). Each latent maps z to the
code, which the decoder reads, and computes the KL divergence from the prior. All have the same
methods: `forward` for the loss, `kl_sampled` for importance weights, `generate` for samples.
Shapes: N images, Z latents, K draws, G parts of the KL divergence; mu, logvar (N, Z); z, eps and
code (N, Z) in `forward`, (N, K, Z) in `kl_sampled`.
Units: nats.
Source: Kingma & Welling (2013), arXiv 1312.6114, unless a class names a later paper.
Left panel: numpy_ref/autoregressive/latents.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model_specs.autoregressive.free_bits import GAMMA_MIN, GAMMA_STEP, SOFT_MARGIN
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from torch_impl.autoregressive.flow import AutoregressiveFlow
from torch_impl.autoregressive.map_flow import MapFlow
from torch_impl.probability.distributions import gaussian_kl, gaussian_kl_sampled


class GaussianPrior(nn.Module):
    """p(z) = N(0, I); the code is z."""

    def forward(self, mu: Tensor, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """The code (N, Z), and the KL divergence of each dimension in closed form (N, Z)."""
        return z, gaussian_kl(mu[..., None], logvar[..., None])

    def kl_sampled(self, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """The code (N, K, Z), and log q(z|x) - log p(z) (N, K)."""
        return z, gaussian_kl_sampled(logvar, z, eps)

    def generate(self, eps: Tensor) -> Tensor:
        """The code of a sample of the prior, made from eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return eps

    @torch.no_grad()
    def kl_terms(self, mu: Tensor, logvar: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """The KL divergence of each dimension (N, Z); value only."""
        _, kl = self(mu, logvar, z, eps)
        return kl


class FlowPrior(nn.Module):
    """p(z) = N(u; 0, I) |det du/dz| with u = f(z), f an autoregressive flow; the code is z.

    Source: Chen et al. (2016), arXiv 1611.02731, section 3.2.
    """

    def __init__(self, config: VLAEConfig, key: Key, **factory_kwargs: Any) -> None:
        super().__init__()
        flow = MapFlow if config.latent_maps else AutoregressiveFlow
        self.flow = flow(config.flow, key, **factory_kwargs)

    def forward(self, mu: Tensor, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """The code z (N, Z), and log q(z|x) - log p(z) at this z (N, 1)."""
        _, kl = self._flow_kl(logvar, z[:, None], eps[:, None])
        return z, kl

    def kl_sampled(self, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """The code z (N, K, Z), and log q(z|x) - log p(z) (N, K)."""
        _, kl = self._flow_kl(logvar, z, eps)
        return z, kl

    def generate(self, eps: Tensor) -> Tensor:
        """The code of a sample of the prior, z = f^-1(eps) of eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return self.flow.inverse(eps)

    @torch.no_grad()
    def kl_terms(self, mu: Tensor, logvar: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """The terms of log q(z|x) - log p(z) at this z by dimension (N, Z); value only.

            log q(z_i|x) - log N(u_i; 0, 1) - log |du_i / dz_i|, the last summed over steps

        They sum to the KL term of `forward`. In a flow of one step, the mean of a term is the KL
        divergence in dimension i given those before it. With more steps a single term is no KL
        divergence, and may be negative.
        """
        u, slopes = self.flow.log_slopes(z)
        return 0.5 * (u * u - eps * eps - logvar) - slopes

    def _flow_kl(self, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """u = f(z) (N, K, Z), and log q(z|x) - log N(u; 0, I) - log |det du/dz| (N, K)."""
        u, logdet = self.flow(z)
        return u, gaussian_kl_sampled(logvar, u, eps) - logdet


class FlowPosterior(FlowPrior):
    """p(u) = N(0, I), and q(u|x) the distribution of u = f(z); the code is u.

    The KL divergence has the same terms as that of FlowPrior: log q(u|x) - log p(u) =
    log q(z|x) - log |det du/dz| - log N(u; 0, I). With a decoder that reads f^-1(u), this is the
    model of FlowPrior.
    Source: Kingma et al. (2016), arXiv 1606.04934; without their context h in the flow.
    """

    def forward(self, mu: Tensor, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """The code u = f(z) (N, Z), and log q(u|x) - log p(u) at this u (N, 1)."""
        u, kl = self._flow_kl(logvar, z[:, None], eps[:, None])
        return u[:, 0], kl

    def kl_sampled(self, logvar: Tensor, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """The code u = f(z) (N, K, Z), and log q(u|x) - log p(u) (N, K)."""
        return self._flow_kl(logvar, z, eps)

    def generate(self, eps: Tensor) -> Tensor:
        """The code of a sample of the prior, u = eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return eps


def make_latent(config: VLAEConfig, key: Key, **factory_kwargs: Any) -> GaussianPrior | FlowPrior:
    """The latent of `config.latent`; "none" is a Gaussian of 0 dimensions."""
    makers: dict[str, Callable[[], GaussianPrior | FlowPrior]] = {
        "none": GaussianPrior,
        "gaussian": GaussianPrior,
        "af_prior": lambda: FlowPrior(config, key, **factory_kwargs),
        "iaf_posterior": lambda: FlowPosterior(config, key, **factory_kwargs),
    }
    return makers[config.latent]()


def kl_per_map(kl: Tensor, maps: int) -> Tensor:
    """mean_n of the sum of kl[n] over the pixels of each map, nats.   kl (N, Z) -> (C)

    kl are the terms by dimension, `kl_terms`, of a code of C = `maps` maps in the order (C, h, w).
    """
    return kl.reshape(len(kl), maps, -1).sum(2).mean(0)


def mean_kl(kl: Tensor) -> Tensor:
    """mean_n sum_g kl[n, g]: the KL divergence without free bits.   kl (N, G) -> ()

    kl[n, g] is the KL divergence of image n in part g of its latent, in nats.
    """
    return kl.sum() / len(kl)


def total_free_bits(kl: Tensor, free: float) -> Tensor:
    """max(lambda, mean_n sum_g kl[n, g]), lambda = `free` nats.   kl (N, G) -> ()

    Where the mean is lambda, the derivative is 1, so that lambda = 0 changes nothing.
    Source: Kingma et al. (2016), arXiv 1606.04934, with all latents as one group.
    """
    return mean_kl(kl).clamp(min=free)


def latent_free_bits(kl: Tensor, free: float) -> Tensor:
    """sum_g max(lambda / G, mean_n kl[n, g]), lambda = `free` nats.   kl (N, G) -> ()

    Where a mean is lambda / G, its derivative is 1, as in `total_free_bits`.
    Source: Kingma et al. (2016), arXiv 1606.04934, with each part as a group.
    """
    return kl.mean(0).clamp(min=free / kl.shape[1]).sum()


class NoFreeBits(nn.Module):
    """The KL penalty without free bits, `mean_kl`, in training and in evaluation."""

    def forward(self, kl: Tensor) -> Tensor:
        return mean_kl(kl)


class TotalFreeBits(nn.Module):
    """The KL penalty `total_free_bits` in training, `mean_kl` in evaluation."""

    def __init__(self, free: float) -> None:
        super().__init__()
        self.free = free

    def forward(self, kl: Tensor) -> Tensor:
        return total_free_bits(kl, self.free) if self.training else mean_kl(kl)


class LatentFreeBits(TotalFreeBits):
    """The KL penalty `latent_free_bits` in training, `mean_kl` in evaluation."""

    def forward(self, kl: Tensor) -> Tensor:
        return latent_free_bits(kl, self.free) if self.training else mean_kl(kl)


class SoftFreeBits(nn.Module):
    """gamma mean_n sum_g kl[n, g] in training, with gamma in [1e-3, 1] updated after each use:

        gamma <- min(1, 1.1 gamma)      if the mean is above 1.05 lambda
        gamma <- max(1e-3, gamma / 1.1) if it is below lambda

    In evaluation the penalty is `mean_kl`, and gamma does not change. gamma is a buffer, like a
    running average. Its update has no gradient: dkl[n, g] = gamma dpenalty / N.
    Source: Chen et al. (2016), arXiv 1611.02731: steps of 10 %. Where we differ: gamma has a
    minimum, since it would approach 0 while the KL stays below lambda.
    """

    gamma: Tensor

    def __init__(self, free: float, dtype: Any = torch.float64, device: Any = None) -> None:
        super().__init__()
        self.free = free
        self.register_buffer("gamma", torch.ones((), dtype=dtype, device=device))

    def forward(self, kl: Tensor) -> Tensor:
        mean = mean_kl(kl)
        if not self.training:
            return mean
        gamma = self.gamma.clone()
        with torch.no_grad():  # no branch on a number that may be on a GPU
            up = torch.where(mean > SOFT_MARGIN * self.free, gamma * GAMMA_STEP, gamma).clamp(max=1)
            down = (gamma / GAMMA_STEP).clamp(min=GAMMA_MIN)
            self.gamma.copy_(torch.where(mean < self.free, down, up))
        return gamma * mean


def make_free_bits(
    config: VLAEConfig, **factory_kwargs: Any
) -> NoFreeBits | TotalFreeBits | SoftFreeBits:
    """The KL penalty of `config.free_bits_of`; NoFreeBits for a model without a latent."""
    makers: dict[str, Callable[[], NoFreeBits | TotalFreeBits | SoftFreeBits]] = {
        "none": NoFreeBits,
        "total": lambda: TotalFreeBits(config.free_nats),
        "latent": lambda: LatentFreeBits(config.free_nats),
        "soft": lambda: SoftFreeBits(config.free_nats, **factory_kwargs),
    }
    return makers["none" if config.latent == "none" else config.free_bits_of]()
