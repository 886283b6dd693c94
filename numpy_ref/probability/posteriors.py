"""Approximate posteriors q(z|x): the linear heads that give their parameters, and what follows.

Diagonal Gaussians that differ in what their second head means, and a point, which has none.
Shapes: h (N, H), mu and spread (N, Z), eps and z (N, L, Z).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from model_specs.mlp_vae import DeterministicParams, LogvarParams, SigmaParams
from numpy_ref.nn.layers import Linear
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.probability.distributions import (
    CLAMP,
    gaussian_kl,
    gaussian_kl_sampled,
    gaussian_kl_sigma,
)

NO_DENSITY = "posterior: got 'deterministic', which has no density q(z|x); takes logvar or sigma"


class LogvarPosterior(Module):
    """q(z|x) = N(mu, exp(logvar)).   Source: Kingma & Welling 2013, appendix C.2."""

    def __init__(self, hidden_dim: int, latent_dim: int, dtype: DTypeLike = np.float64) -> None:
        self.mu = Linear(hidden_dim, latent_dim, dtype=dtype)
        self.logvar = Linear(hidden_dim, latent_dim, dtype=dtype)

    def forward(self, h: Array) -> tuple[LogvarParams, Vjp]:
        mu, mu_vjp = self.mu(h)
        logvar, logvar_vjp = self.logvar(h)
        return LogvarParams(mu, logvar), lambda dmu, dlogvar: mu_vjp(dmu) + logvar_vjp(dlogvar)

    def reparameterize(self, mu: Array, logvar: Array, eps: Array) -> tuple[Array, Vjp]:
        """z = mu + exp(logvar / 2) eps."""
        std = np.exp(0.5 * logvar)
        z = mu[:, None] + std[:, None] * eps
        return z, lambda dz: (dz.sum(1), (dz * eps).sum(1) * 0.5 * std)

    def kl(self, mu: Array, logvar: Array) -> tuple[Array, Vjp]:
        """KL(q(z|x) || N(0, I)) in closed form.   -> (N,)"""
        return gaussian_kl(mu, logvar)

    def kl_sampled(self, logvar: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
        """log q(z|x) - log p(z) at the sampled z.   -> (N, L)"""
        return gaussian_kl_sampled(logvar, z, eps)


class SigmaPosterior(Module):
    """q(z|x) = N(mu, sigma^2), sigma unconstrained: a negative one acts as its absolute value."""

    def __init__(self, hidden_dim: int, latent_dim: int, dtype: DTypeLike = np.float64) -> None:
        self.mu = Linear(hidden_dim, latent_dim, dtype=dtype)
        self.sigma = Linear(hidden_dim, latent_dim, dtype=dtype)

    def forward(self, h: Array) -> tuple[SigmaParams, Vjp]:
        mu, mu_vjp = self.mu(h)
        sigma, sigma_vjp = self.sigma(h)
        return SigmaParams(mu, sigma), lambda dmu, dsigma: mu_vjp(dmu) + sigma_vjp(dsigma)

    def reparameterize(self, mu: Array, sigma: Array, eps: Array) -> tuple[Array, Vjp]:
        """z = mu + sigma eps."""
        z = mu[:, None] + sigma[:, None] * eps
        return z, lambda dz: (dz.sum(1), (dz * eps).sum(1))

    def kl(self, mu: Array, sigma: Array) -> tuple[Array, Vjp]:
        """KL(q(z|x) || N(0, I)) in closed form, with log(sigma^2 + 1e-8).   -> (N,)"""
        return gaussian_kl_sigma(mu, sigma)

    def kl_sampled(self, sigma: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
        """log q(z|x) - log p(z) at the sampled z, with log(sigma^2 + 1e-8).   -> (N, L)"""
        var = sigma * sigma + CLAMP
        kl, kl_vjp = gaussian_kl_sampled(np.log(var), z, eps)

        def vjp(dkl: Array) -> tuple[Array, Array]:
            dlogvar, dz = kl_vjp(dkl)
            return dlogvar * 2 * sigma / var, dz

        return kl, vjp


class DeterministicPosterior(Module):
    """q(z|x) is the point mu: the code of a plain autoencoder. Its spread is 0 and stays so."""

    def __init__(self, hidden_dim: int, latent_dim: int, dtype: DTypeLike = np.float64) -> None:
        self.mu = Linear(hidden_dim, latent_dim, dtype=dtype)

    def forward(self, h: Array) -> tuple[DeterministicParams, Vjp]:
        mu, mu_vjp = self.mu(h)
        return DeterministicParams(mu, np.zeros_like(mu)), lambda dmu, dstd: mu_vjp(dmu)

    def reparameterize(self, mu: Array, std: Array, eps: Array) -> tuple[Array, Vjp]:
        """z = mu, whatever eps."""
        z = mu[:, None] + std[:, None] * eps
        return z, lambda dz: (dz.sum(1), 0)

    def kl(self, mu: Array, std: Array) -> tuple[Array, Vjp]:
        """0: an autoencoder has no such term; of a point it would be infinite.   -> (N,)"""
        return np.zeros_like(mu[:, 0]), lambda dkl: (0, 0)

    def kl_sampled(self, std: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
        """Raises: ValueError, for there is no log q(z|x)."""
        raise ValueError(NO_DENSITY)


Posterior = LogvarPosterior | SigmaPosterior | DeterministicPosterior
POSTERIORS: dict[str, type[Posterior]] = {
    "logvar": LogvarPosterior,
    "sigma": SigmaPosterior,
    "deterministic": DeterministicPosterior,
}
