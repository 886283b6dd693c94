"""Approximate posteriors q(z|x): the linear heads that give their parameters, and what follows.

Diagonal Gaussians that differ in what their second head means, and a point, which has none.
Shapes: h (N, H), mu and spread (N, Z), eps and z (N, L, Z).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_specs.mlp_vae import DeterministicParams, LogvarParams, SigmaParams
from torch_impl.nn.layers import Linear
from torch_impl.probability.distributions import (
    CLAMP,
    gaussian_kl,
    gaussian_kl_sampled,
    gaussian_kl_sigma,
)

NO_DENSITY = "posterior: got 'deterministic', which has no density q(z|x); takes logvar or sigma"


class LogvarPosterior(nn.Module):
    """q(z|x) = N(mu, exp(logvar)).   Source: Kingma & Welling 2013, appendix C.2."""

    def __init__(
        self,
        hidden_dim: int,
        latent_dim: int,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.mu = Linear(hidden_dim, latent_dim, dtype=dtype, device=device)
        self.logvar = Linear(hidden_dim, latent_dim, dtype=dtype, device=device)

    def forward(self, h: Tensor) -> LogvarParams:
        dtype = self.mu.weight.dtype  # under autocast densities still need every digit
        return LogvarParams(self.mu(h).to(dtype), self.logvar(h).to(dtype))

    def reparameterize(self, mu: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
        """z = mu + exp(logvar / 2) eps."""
        std = torch.exp(0.5 * logvar)
        return mu[:, None] + std[:, None] * eps

    def kl(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """KL(q(z|x) || N(0, I)) in closed form.   -> (N,)"""
        return gaussian_kl(mu, logvar)

    def kl_sampled(self, logvar: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """log q(z|x) - log p(z) at the sampled z.   -> (N, L)"""
        return gaussian_kl_sampled(logvar, z, eps)


class SigmaPosterior(nn.Module):
    """q(z|x) = N(mu, sigma^2), sigma unconstrained: a negative one acts as its absolute value."""

    def __init__(
        self,
        hidden_dim: int,
        latent_dim: int,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.mu = Linear(hidden_dim, latent_dim, dtype=dtype, device=device)
        self.sigma = Linear(hidden_dim, latent_dim, dtype=dtype, device=device)

    def forward(self, h: Tensor) -> SigmaParams:
        dtype = self.mu.weight.dtype
        return SigmaParams(self.mu(h).to(dtype), self.sigma(h).to(dtype))

    def reparameterize(self, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
        """z = mu + sigma eps."""
        return mu[:, None] + sigma[:, None] * eps

    def kl(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """KL(q(z|x) || N(0, I)) in closed form, with log(sigma^2 + 1e-8).   -> (N,)"""
        return gaussian_kl_sigma(mu, sigma)

    def kl_sampled(self, sigma: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """log q(z|x) - log p(z) at the sampled z, with log(sigma^2 + 1e-8).   -> (N, L)"""
        return gaussian_kl_sampled(torch.log(sigma * sigma + CLAMP), z, eps)


class DeterministicPosterior(nn.Module):
    """q(z|x) is the point mu: the code of a plain autoencoder. Its spread is 0 and stays so."""

    def __init__(
        self,
        hidden_dim: int,
        latent_dim: int,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.mu = Linear(hidden_dim, latent_dim, dtype=dtype, device=device)

    def forward(self, h: Tensor) -> DeterministicParams:
        mu = self.mu(h).to(self.mu.weight.dtype)
        return DeterministicParams(mu, torch.zeros_like(mu))

    def reparameterize(self, mu: Tensor, std: Tensor, eps: Tensor) -> Tensor:
        """z = mu, whatever eps."""
        return mu[:, None] + std[:, None] * eps

    def kl(self, mu: Tensor, std: Tensor) -> Tensor:
        """0: an autoencoder has no such term; of a point it would be infinite.   -> (N,)"""
        return 0 * mu[:, 0]

    def kl_sampled(self, std: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """Raises: ValueError, for there is no log q(z|x)."""
        raise ValueError(NO_DENSITY)


Posterior = LogvarPosterior | SigmaPosterior | DeterministicPosterior
POSTERIORS: dict[str, type[Posterior]] = {
    "logvar": LogvarPosterior,
    "sigma": SigmaPosterior,
    "deterministic": DeterministicPosterior,
}
