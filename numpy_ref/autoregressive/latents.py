"""The latents of the VLAE with their KL divergence, and its penalty with free bits.

z = mu + exp(logvar / 2) eps is a sample of the encoder's Gaussian q(z|x). Each latent maps z to the
code, which the decoder reads, and computes the KL divergence from the prior. All have the same
methods: `forward` for the loss, `kl_sampled` for importance weights, `generate` for samples.
Shapes: N images, Z latents, K draws, G parts of the KL divergence; mu, logvar (N, Z); z, eps and
code (N, Z) in `forward`, (N, K, Z) in `kl_sampled`.
Units: nats.
Source: Kingma & Welling (2013), arXiv 1312.6114, unless a class names a later paper.
Right panel: torch_impl/autoregressive/latents.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.free_bits import GAMMA_MIN, GAMMA_STEP, SOFT_MARGIN
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.autoregressive.flow import AutoregressiveFlow
from numpy_ref.autoregressive.map_flow import MapFlow
from numpy_ref.nn.module import Array, Buffer, Module, Vjp
from numpy_ref.probability.distributions import gaussian_kl, gaussian_kl_sampled


class GaussianPrior(Module):
    """p(z) = N(0, I); the code is z."""

    def forward(
        self, mu: Array, logvar: Array, z: Array, eps: Array
    ) -> tuple[tuple[Array, Array], Vjp]:
        """The code (N, Z), and the KL divergence of each dimension in closed form (N, Z)."""
        kl, kl_vjp = gaussian_kl(mu[..., None], logvar[..., None])

        def vjp(dcode: Array, dkl: Array) -> tuple[Array, Array, Array]:
            dmu, dlogvar = kl_vjp(dkl)
            return dmu[..., 0], dlogvar[..., 0], dcode

        return (z, kl), vjp

    def kl_sampled(self, logvar: Array, z: Array, eps: Array) -> tuple[Array, Array]:
        """The code (N, K, Z), and log q(z|x) - log p(z) (N, K); values only."""
        return z, gaussian_kl_sampled(logvar, z, eps)[0]

    def generate(self, eps: Array) -> Array:
        """The code of a sample of the prior, made from eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return eps

    def kl_terms(self, mu: Array, logvar: Array, z: Array, eps: Array) -> Array:
        """The KL divergence of each dimension (N, Z); value only."""
        (_, kl), _ = self(mu, logvar, z, eps)
        return kl


class FlowPrior(Module):
    """p(z) = N(u; 0, I) |det du/dz| with u = f(z), f an autoregressive flow; the code is z.

    Source: Chen et al. (2016), arXiv 1611.02731, section 3.2.
    """

    def __init__(self, config: VLAEConfig, key: Key, dtype: DTypeLike = np.float64) -> None:
        flow = MapFlow if config.latent_maps else AutoregressiveFlow
        self.flow = flow(config.flow, key, dtype)

    def forward(
        self, mu: Array, logvar: Array, z: Array, eps: Array
    ) -> tuple[tuple[Array, Array], Vjp]:
        """The code z (N, Z), and log q(z|x) - log p(z) at this z (N, 1)."""
        (_, kl), flow_vjp = self._flow_kl(logvar, z[:, None], eps[:, None])

        def vjp(dcode: Array, dkl: Array) -> tuple[float, Array, Array]:
            dlogvar, dz = flow_vjp(0.0, dkl)
            return 0.0, dlogvar, dz[:, 0] + dcode  # mu acts through z alone

        return (z, kl), vjp

    def kl_sampled(self, logvar: Array, z: Array, eps: Array) -> tuple[Array, Array]:
        """The code z (N, K, Z), and log q(z|x) - log p(z) (N, K); values only."""
        (_, kl), _ = self._flow_kl(logvar, z, eps)
        return z, kl

    def generate(self, eps: Array) -> Array:
        """The code of a sample of the prior, z = f^-1(eps) of eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return self.flow.inverse(eps)

    def kl_terms(self, mu: Array, logvar: Array, z: Array, eps: Array) -> Array:
        """The terms of log q(z|x) - log p(z) at this z by dimension (N, Z); value only.

            log q(z_i|x) - log N(u_i; 0, 1) - log |du_i / dz_i|, the last summed over steps

        They sum to the KL term of `forward`. In a flow of one step, the mean of a term is the KL
        divergence in dimension i given those before it. With more steps a single term is no KL
        divergence, and may be negative.
        """
        u, slopes = self.flow.log_slopes(z)
        return 0.5 * (u * u - eps * eps - logvar) - slopes

    def _flow_kl(self, logvar: Array, z: Array, eps: Array) -> tuple[tuple[Array, Array], Vjp]:
        """u = f(z) (N, K, Z), and log q(z|x) - log N(u; 0, I) - log |det du/dz| (N, K)."""
        (u, logdet), flow_vjp = self.flow(z)
        kl, kl_vjp = gaussian_kl_sampled(logvar, u, eps)

        def vjp(du: Array | float, dkl: Array) -> tuple[Array, Array]:
            dlogvar, du_kl = kl_vjp(dkl)
            return dlogvar, flow_vjp(du_kl + du, -dkl)

        return (u, kl - logdet), vjp


class FlowPosterior(FlowPrior):
    """p(u) = N(0, I), and q(u|x) the distribution of u = f(z); the code is u.

    The KL divergence has the same terms as that of FlowPrior: log q(u|x) - log p(u) =
    log q(z|x) - log |det du/dz| - log N(u; 0, I). With a decoder that reads f^-1(u), this is the
    model of FlowPrior.
    Source: Kingma et al. (2016), arXiv 1606.04934; without their context h in the flow.
    """

    def forward(
        self, mu: Array, logvar: Array, z: Array, eps: Array
    ) -> tuple[tuple[Array, Array], Vjp]:
        """The code u = f(z) (N, Z), and log q(u|x) - log p(u) at this u (N, 1)."""
        (u, kl), flow_vjp = self._flow_kl(logvar, z[:, None], eps[:, None])

        def vjp(dcode: Array, dkl: Array) -> tuple[float, Array, Array]:
            dlogvar, dz = flow_vjp(dcode[:, None], dkl)
            return 0.0, dlogvar, dz[:, 0]  # mu acts through z alone

        return (u[:, 0], kl), vjp

    def kl_sampled(self, logvar: Array, z: Array, eps: Array) -> tuple[Array, Array]:
        """The code u = f(z) (N, K, Z), and log q(u|x) - log p(u) (N, K); values only."""
        (u, kl), _ = self._flow_kl(logvar, z, eps)
        return u, kl

    def generate(self, eps: Array) -> Array:
        """The code of a sample of the prior, u = eps ~ N(0, I).   (N, Z) -> (N, Z)"""
        return eps


def make_latent(config: VLAEConfig, key: Key, dtype: DTypeLike) -> GaussianPrior | FlowPrior:
    """The latent of `config.latent`; "none" is a Gaussian of 0 dimensions."""
    makers: dict[str, Callable[[], GaussianPrior | FlowPrior]] = {
        "none": GaussianPrior,
        "gaussian": GaussianPrior,
        "af_prior": lambda: FlowPrior(config, key, dtype),
        "iaf_posterior": lambda: FlowPosterior(config, key, dtype),
    }
    return makers[config.latent]()


def kl_per_map(kl: Array, maps: int) -> Array:
    """mean_n of the sum of kl[n] over the pixels of each map, nats.   kl (N, Z) -> (C)

    kl are the terms by dimension, `kl_terms`, of a code of C = `maps` maps in the order (C, h, w).

    >>> kl_per_map(np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, 0.0]]), 2)
    array([2., 4.])
    """
    return kl.reshape(len(kl), maps, -1).sum(2).mean(0)


def mean_kl(kl: Array) -> tuple[Array, Vjp]:
    """mean_n sum_g kl[n, g]: the KL divergence without free bits.   kl (N, G) -> ()

    kl[n, g] is the KL divergence of image n in part g of its latent, in nats.

    >>> penalty, vjp = mean_kl(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> float(penalty), vjp(1.0)[0]
    (5.0, array([0.5, 0.5]))
    """
    return kl.sum() / len(kl), lambda dpenalty: np.full_like(kl, dpenalty / len(kl))


def total_free_bits(kl: Array, free: float) -> tuple[Array, Vjp]:
    """max(lambda, mean_n sum_g kl[n, g]), lambda = `free` nats.   kl (N, G) -> ()

    Where the mean is lambda, the derivative is 1, so that lambda = 0 changes nothing, as in torch.

    Derivation of the gradient. The maximum changes as the larger of its two arguments. lambda is a
    constant, and the mean has the derivative 1 / N in every kl[n, g]:

        dkl[n, g] = dpenalty / N    where the mean is at least lambda, else 0

    Below lambda no term of the loss lowers the KL divergence: the latent has lambda nats for free.
    Source: Kingma et al. (2016), arXiv 1606.04934, with all latents as one group.

    >>> penalty, vjp = total_free_bits(np.array([[1.0, 2.0], [3.0, 4.0]]), 6.0)
    >>> float(penalty), vjp(1.0)[0]
    (6.0, array([0., 0.]))
    """
    mean, mean_vjp = mean_kl(kl)
    return np.maximum(mean, free), lambda dpenalty: mean_vjp(dpenalty * (mean >= free))


def latent_free_bits(kl: Array, free: float) -> tuple[Array, Vjp]:
    """sum_g max(lambda / G, mean_n kl[n, g]), lambda = `free` nats.   kl (N, G) -> ()

    Where a mean is lambda / G, its derivative is 1, as in `total_free_bits`.
    Source: Kingma et al. (2016), arXiv 1606.04934, with each part as a group.

    >>> penalty, vjp = latent_free_bits(np.array([[1.0, 2.0], [3.0, 4.0]]), 5.0)
    >>> float(penalty), vjp(1.0)[0]
    (5.5, array([0. , 0.5]))
    """
    means, minimum = kl.mean(0), free / kl.shape[1]

    def vjp(dpenalty: Array) -> Array:
        return np.broadcast_to(dpenalty * (means >= minimum) / len(kl), kl.shape)

    return np.maximum(means, minimum).sum(), vjp


class NoFreeBits(Module):
    """The KL penalty without free bits, `mean_kl`, in training and in evaluation."""

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        return mean_kl(kl)


class TotalFreeBits(Module):
    """The KL penalty `total_free_bits` in training, `mean_kl` in evaluation."""

    def __init__(self, free: float) -> None:
        self.free = free

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        return total_free_bits(kl, self.free) if self.training else mean_kl(kl)


class LatentFreeBits(TotalFreeBits):
    """The KL penalty `latent_free_bits` in training, `mean_kl` in evaluation."""

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        return latent_free_bits(kl, self.free) if self.training else mean_kl(kl)


class SoftFreeBits(Module):
    """gamma mean_n sum_g kl[n, g] in training, with gamma in [1e-3, 1] updated after each use:

        gamma <- min(1, 1.1 gamma)      if the mean is above 1.05 lambda
        gamma <- max(1e-3, gamma / 1.1) if it is below lambda

    In evaluation the penalty is `mean_kl`, and gamma does not change. gamma is a buffer, like a
    running average. Its update has no gradient: dkl[n, g] = gamma dpenalty / N.
    Source: Chen et al. (2016), arXiv 1611.02731: steps of 10 %. Where we differ: gamma has a
    minimum, since it would approach 0 while the KL stays below lambda.
    """

    def __init__(self, free: float, dtype: DTypeLike = np.float64) -> None:
        self.free = free
        self.gamma = Buffer(np.ones((), dtype))

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        mean, mean_vjp = mean_kl(kl)
        if not self.training:
            return mean, mean_vjp
        gamma = self.gamma.data.copy()
        up = min(gamma * GAMMA_STEP, 1.0) if mean > SOFT_MARGIN * self.free else gamma
        down = max(gamma / GAMMA_STEP, GAMMA_MIN)
        self.gamma.data[...] = down if mean < self.free else up
        return gamma * mean, lambda dpenalty: mean_vjp(gamma * dpenalty)


def make_free_bits(
    config: VLAEConfig, dtype: DTypeLike
) -> NoFreeBits | TotalFreeBits | SoftFreeBits:
    """The KL penalty of `config.free_bits_of`; NoFreeBits for a model without a latent."""
    makers: dict[str, Callable[[], NoFreeBits | TotalFreeBits | SoftFreeBits]] = {
        "none": NoFreeBits,
        "total": lambda: TotalFreeBits(config.free_nats),
        "latent": lambda: LatentFreeBits(config.free_nats),
        "soft": lambda: SoftFreeBits(config.free_nats, dtype),
    }
    return makers["none" if config.latent == "none" else config.free_bits_of]()
