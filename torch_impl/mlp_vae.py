"""The MLP variational autoencoder, vectorised.   Left panel: numpy_ref/mlp_vae.py

Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2013), arXiv 1312.6114.
Where we differ: ReLU by default (the paper: tanh); see model_specs.mlp_vae for every choice.
Shapes: N examples, D = input_dim, H = hidden_dim, Z = latent_dim, L = samples, K draws; h (N, H),
mu, logvar, sigma and std (N, Z), eps and z (N, L, Z).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model_specs.common.key import Key
from model_specs.mlp_vae import (
    DeterministicParams,
    LogvarParams,
    MLPVAEConfig,
    MLPVAELoss,
    MLPVAENoise,
    SigmaParams,
)
from torch_impl.nn import checks, random
from torch_impl.nn.init import INITS
from torch_impl.nn.layers import Linear
from torch_impl.nn.module import Module, as_device, as_dtype
from torch_impl.probability.distributions import (
    CLAMP,
    Bernoulli,
    ClampedBernoulli,
    Gaussian,
    LearnedGaussian,
    gaussian_kl,
    gaussian_kl_sampled,
    gaussian_kl_sigma,
)
from torch_impl.probability.grey_distributions import Beta, ContinuousBernoulli, TruncatedGaussian

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class MLPVAE(Module):
    """x -> hidden -> q(z|x) = N(mu, std^2);   z = mu + std eps;   z -> hidden -> p(x|z).

        loss = E_q[-log p(x|z)] + beta KL(q(z|x) || N(0, I))          (= -ELBO at beta = 1)

    Units: nats; MLPVAELoss names the sums and averages.
    """

    def __init__(
        self,
        config: MLPVAEConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        factory_kwargs: dict[str, Any] = {"dtype": as_dtype(dtype), "device": as_device(device)}
        D, H, Z = config.input_dim, config.hidden_dim, config.latent_dim
        activation = ACTIVATIONS[config.activation]
        self.encoder_hidden = Linear(D, H, **factory_kwargs)
        self.encoder_activation = activation()
        self.posterior = POSTERIORS[config.posterior](H, Z, **factory_kwargs)
        self.decoder_hidden = Linear(Z, H, **factory_kwargs)
        self.decoder_activation = activation()
        self.decoder_logits = Linear(H, D * config.outputs, **factory_kwargs)
        self.likelihood = make_likelihood(config)
        INITS[config.init](self, key)

    @property
    def dtype(self) -> torch.dtype:
        return self.encoder_hidden.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.encoder_hidden.weight.device

    def draw_noise(
        self, key: Key, batch_size: int, *, samples: int | None = None, first: int = 0
    ) -> MLPVAENoise:
        """Standard normal eps (N, L, Z): see random.draw_eps.

        L is `samples`, by default config.samples. `first` is the index of the first example, so
        that part of a batch gets the same noise as within the whole batch.
        """
        L, Z = self.config.samples if samples is None else samples, self.config.latent_dim
        eps = random.draw_eps(key.fold_in("eps"), batch_size, L, Z, first, self.dtype, self.device)
        return MLPVAENoise(eps)

    def encode(self, x: Tensor) -> Any:
        """The parameters of q(z|x).   x (N, D) -> mu and logvar, sigma or std (N, Z)

        Raises: ValueError for an x of wrong shape, dtype or range, NaN and inf too.
        """
        example = (self.config.input_dim,)
        checks.check_batch("x", x, example, self, self.likelihood.support)
        return self.posterior(self.encoder_activation(self.encoder_hidden(x)))

    def reparameterize(self, mu: Tensor, scale: Tensor, eps: Tensor) -> Tensor:
        """z = mu + std eps.   mu and scale (N, Z), eps (N, L, Z) -> z (N, L, Z)"""
        return self.posterior.reparameterize(mu, scale, eps)

    def decode(self, z: Tensor) -> Tensor:
        """The parameters of p(x|z), called logits for every likelihood.

        Shapes: z (..., Z) -> logits (..., D), or (..., 2 D) for `beta` and `gaussian_learned`.
        """
        logits = self.decoder_logits(self.decoder_activation(self.decoder_hidden(z)))
        return logits.to(self.dtype)  # densities in full precision, under autocast too

    def loss(self, x: Tensor, noise: MLPVAENoise) -> MLPVAELoss:
        """The loss terms; `loss.total.backward()` computes the gradients.

        Shapes: x (N, D), noise.eps (N, L, Z); L need not be config.samples. Units: see MLPVAELoss.
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        mu, scale = self.encode(x)
        self._check_noise(x, noise)
        beta = self.config.beta
        weight = 1 / len(x) if self.config.reduction == "mean" else 1.0

        z = self.reparameterize(mu, scale, noise.eps)
        logits = self.decode(z)
        nll = self.likelihood.nll(logits, x)  # (N, L)
        kl = self._kl(mu, scale, z, noise.eps)  # (N, L) if sampled, else (N, 1)

        recon_term = weight * nll.mean(1).sum()
        kl_term = weight * kl.mean(1).sum()
        return MLPVAELoss(recon_term + beta * kl_term, recon_term, kl_term)

    def _kl(self, mu: Tensor, scale: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """The KL term by the configured estimator."""
        if self.config.estimator == "sampled":
            return self.posterior.kl_sampled(scale, z, eps)
        return self.posterior.kl(mu, scale)[:, None]

    @torch.no_grad()
    def log_weight(self, x: Tensor, noise: MLPVAENoise) -> Tensor:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + std eps, nats; value only.

        The mean over K estimates the ELBO. The log-mean-exp over K is the importance-weighted bound
        of Burda et al. (2015), which tends to log p(x).
        Shapes: x (N, D), noise.eps (N, K, Z) -> (N, K).
        Raises: ValueError as `loss`, and for a deterministic posterior, which has no density.
        """
        mu, scale = self.encode(x)
        self._check_noise(x, noise)
        z = self.reparameterize(mu, scale, noise.eps)
        nll = self.likelihood.nll(self.decode(z), x)
        return -nll - self.posterior.kl_sampled(scale, z, noise.eps)

    @torch.no_grad()
    def sample(self, key: Key, count: int, *, mean: bool = False) -> Tensor:
        """x ~ p(x|z), z ~ N(0, I); with `mean`, the mean of p(x|z) instead.   -> (count, D)"""
        shape = (count, self.config.latent_dim)
        z = random.normal(key.fold_in("z"), shape, dtype=self.dtype, device=self.device)
        logits = self.decode(z)
        if mean:
            return self.likelihood.mean(logits)
        return self.likelihood.sample(logits, key.fold_in("x"))

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean of p(x|z) at z = mu(x).   x (N, D) -> (N, D)"""
        mu, _ = self.encode(x)
        return self.likelihood.mean(self.decode(mu))

    def _check_noise(self, x: Tensor, noise: MLPVAENoise) -> None:
        shape = (len(x), None, self.config.latent_dim)
        checks.check_noise("eps", noise.eps, shape, self)


class LogvarPosterior(nn.Module):
    """q(z|x) = N(mu, exp(logvar)), with mu and logvar linear in h.

    All posteriors have these methods.
    Source: Kingma & Welling (2013), appendix C.2.
    """

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
        dtype = self.mu.weight.dtype  # densities in full precision, under autocast too
        return LogvarParams(self.mu(h).to(dtype), self.logvar(h).to(dtype))

    def reparameterize(self, mu: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
        """z = mu + exp(logvar / 2) eps."""
        std = torch.exp(0.5 * logvar)
        return mu[:, None] + std[:, None] * eps

    def kl(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """KL(q(z|x) || N(0, I)) in closed form, nats.   -> (N)"""
        return gaussian_kl(mu, logvar)

    def kl_sampled(self, logvar: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """log q(z|x) - log p(z) at the sampled z.   -> (N, L)"""
        return gaussian_kl_sampled(logvar, z, eps)


class SigmaPosterior(nn.Module):
    """q(z|x) = N(mu, sigma^2), with mu and sigma linear in h.

    sigma is unconstrained, and a negative one acts as its absolute value.
    """

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
        """KL(q(z|x) || N(0, I)) in closed form, nats, with log(sigma^2 + 1e-8).   -> (N)"""
        return gaussian_kl_sigma(mu, sigma)

    def kl_sampled(self, sigma: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """log q(z|x) - log p(z) at the sampled z, with log(sigma^2 + 1e-8).   -> (N, L)"""
        return gaussian_kl_sampled(torch.log(sigma * sigma + CLAMP), z, eps)


class DeterministicPosterior(nn.Module):
    """q(z|x) is the point mu, the code of a plain autoencoder; its std is the constant 0."""

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
        """z = mu for every eps."""
        return mu[:, None] + std[:, None] * eps

    def kl(self, mu: Tensor, std: Tensor) -> Tensor:
        """0 nats: the loss of an autoencoder has no KL term.   -> (N)"""
        return 0 * mu[:, 0]

    def kl_sampled(self, std: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """Raises: ValueError, since a point has no density q(z|x)."""
        raise ValueError(
            "posterior: got 'deterministic', which has no density q(z|x); takes logvar or sigma"
        )


Posterior = LogvarPosterior | SigmaPosterior | DeterministicPosterior
POSTERIORS: dict[str, type[Posterior]] = {
    "logvar": LogvarPosterior,
    "sigma": SigmaPosterior,
    "deterministic": DeterministicPosterior,
}

Likelihood = Bernoulli | ContinuousBernoulli | Beta | Gaussian | LearnedGaussian


def make_likelihood(config: MLPVAEConfig) -> Likelihood:
    """The likelihood that `config.likelihood` names."""
    makers: dict[str, Callable[[], Likelihood]] = {
        "bernoulli": Bernoulli,
        "bernoulli_clamped": ClampedBernoulli,
        "continuous_bernoulli": ContinuousBernoulli,
        "beta": Beta,
        "gaussian": lambda: Gaussian(config.gaussian_std),
        "gaussian_learned": lambda: LearnedGaussian(config.min_logvar),
        "truncated_gaussian": lambda: TruncatedGaussian(config.gaussian_std),
    }
    return makers[config.likelihood]()
