"""The MLP variational autoencoder, by hand.   Right panel: torch_impl/mlp_vae.py

Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2013), arXiv 1312.6114.
Where we differ: ReLU by default (the paper: tanh); see model_specs.mlp_vae for every choice.
Shapes: N examples, D = input_dim, H = hidden_dim, Z = latent_dim, L = samples, K draws; h (N, H),
mu, logvar, sigma and std (N, Z), eps and z (N, L, Z).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.key import Key
from model_specs.mlp_vae import (
    DeterministicParams,
    LogvarParams,
    MLPVAEConfig,
    MLPVAELoss,
    MLPVAENoise,
    SigmaParams,
)
from numpy_ref.nn import checks, random
from numpy_ref.nn.functional import ReLU, Tanh
from numpy_ref.nn.init import INITS
from numpy_ref.nn.layers import Linear
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.probability.distributions import (
    CLAMP,
    Bernoulli,
    ClampedBernoulli,
    Gaussian,
    LearnedGaussian,
    gaussian_kl,
    gaussian_kl_sampled,
    gaussian_kl_sigma,
)
from numpy_ref.probability.grey_distributions import Beta, ContinuousBernoulli, TruncatedGaussian

ACTIVATIONS = {"relu": ReLU, "tanh": Tanh}


class MLPVAE(Module):
    """x -> hidden -> q(z|x) = N(mu, std^2);   z = mu + std eps;   z -> hidden -> p(x|z).

        loss = E_q[-log p(x|z)] + beta KL(q(z|x) || N(0, I))          (= -ELBO at beta = 1)

    Units: nats; MLPVAELoss names the sums and averages.
    """

    def __init__(
        self,
        config: MLPVAEConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.config = config
        D, H, Z = config.input_dim, config.hidden_dim, config.latent_dim
        activation = ACTIVATIONS[config.activation]
        self.encoder_hidden = Linear(D, H, dtype=dtype, input_grad=False)
        self.encoder_activation = activation()
        self.posterior = POSTERIORS[config.posterior](H, Z, dtype=dtype)
        self.decoder_hidden = Linear(Z, H, dtype=dtype)
        self.decoder_activation = activation()
        self.decoder_logits = Linear(H, D * config.outputs, dtype=dtype)
        self.likelihood = make_likelihood(config)
        INITS[config.init](self, key)

    @property
    def dtype(self) -> np.dtype:
        return self.encoder_hidden.weight.data.dtype

    def draw_noise(
        self, key: Key, batch_size: int, *, samples: int | None = None, first: int = 0
    ) -> MLPVAENoise:
        """Standard normal eps (N, L, Z): see random.draw_eps.

        L is `samples`, by default config.samples. `first` is the index of the first example, so
        that part of a batch gets the same noise as within the whole batch.
        """
        L, Z = self.config.samples if samples is None else samples, self.config.latent_dim
        eps = random.draw_eps(key.fold_in("eps"), batch_size, L, Z, first, self.dtype)
        return MLPVAENoise(eps)

    def encode(self, x: Array) -> tuple[Any, Vjp]:
        """The parameters of q(z|x).   x (N, D) -> mu and logvar, sigma or std (N, Z)

        Raises: ValueError for an x of wrong shape, dtype or range, NaN and inf too.
        """
        example = (self.config.input_dim,)
        checks.check_batch("x", x, example, self.dtype, self.likelihood.support)
        h, h_vjp = self.encoder_hidden(x)
        a, a_vjp = self.encoder_activation(h)
        q, q_vjp = self.posterior(a)
        return q, lambda dmu, dscale: h_vjp(a_vjp(q_vjp(dmu, dscale)))

    def reparameterize(self, mu: Array, scale: Array, eps: Array) -> tuple[Array, Vjp]:
        """z = mu + std eps.   mu and scale (N, Z), eps (N, L, Z) -> z (N, L, Z)"""
        return self.posterior.reparameterize(mu, scale, eps)

    def decode(self, z: Array) -> tuple[Array, Vjp]:
        """The parameters of p(x|z), called logits for every likelihood.

        Shapes: z (..., Z) -> logits (..., D), or (..., 2 D) for `beta` and `gaussian_learned`.
        """
        h, h_vjp = self.decoder_hidden(z)
        a, a_vjp = self.decoder_activation(h)
        logits, logits_vjp = self.decoder_logits(a)
        return logits, lambda dlogits: h_vjp(a_vjp(logits_vjp(dlogits)))

    def loss(self, x: Array, noise: MLPVAENoise) -> tuple[MLPVAELoss, Callable[[], None]]:
        """The loss terms, and `backward`, which adds d total / d parameter to every `.grad`.

        Shapes: x (N, D), noise.eps (N, L, Z); L need not be config.samples. Units: see MLPVAELoss.
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        (mu, scale), encode_vjp = self.encode(x)
        self._check_noise(x, noise)
        beta = self.config.beta
        weight = 1 / len(x) if self.config.reduction == "mean" else 1.0

        z, z_vjp = self.reparameterize(mu, scale, noise.eps)
        logits, decode_vjp = self.decode(z)
        nll, nll_vjp = self.likelihood.nll(logits, x)  # (N, L)
        kl, kl_vjp = self._kl(mu, scale, z, noise.eps)  # (N, L) if sampled, else (N, 1)

        recon_term = weight * nll.mean(1).sum()
        kl_term = weight * kl.mean(1).sum()

        def backward() -> None:
            dkl = np.full_like(kl, beta * weight / kl.shape[1])
            dnll = np.full_like(nll, weight / nll.shape[1])
            dmu_kl, dscale_kl, dz_kl = kl_vjp(dkl)
            dmu, dscale = z_vjp(decode_vjp(nll_vjp(dnll)) + dz_kl)
            encode_vjp(dmu + dmu_kl, dscale + dscale_kl)

        return MLPVAELoss(recon_term + beta * kl_term, recon_term, kl_term), backward

    def _kl(self, mu: Array, scale: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
        """The KL term by the configured estimator; its vjp returns (dmu, dscale, dz)."""
        if self.config.estimator == "sampled":
            kl, kl_vjp = self.posterior.kl_sampled(scale, z, eps)
            return kl, lambda dkl: (0, *kl_vjp(dkl))
        kl, kl_vjp = self.posterior.kl(mu, scale)
        return kl[:, None], lambda dkl: (*kl_vjp(dkl[:, 0]), 0)

    def log_weight(self, x: Array, noise: MLPVAENoise) -> Array:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + std eps, nats; value only.

        The mean over K estimates the ELBO. The log-mean-exp over K is the importance-weighted bound
        of Burda et al. (2015), which tends to log p(x).
        Shapes: x (N, D), noise.eps (N, K, Z) -> (N, K).
        Raises: ValueError as `loss`, and for a deterministic posterior, which has no density.
        """
        (mu, scale), _ = self.encode(x)
        self._check_noise(x, noise)
        z, _ = self.reparameterize(mu, scale, noise.eps)
        nll, _ = self.likelihood.nll(self.decode(z)[0], x)
        return -nll - self.posterior.kl_sampled(scale, z, noise.eps)[0]

    def sample(self, key: Key, count: int, *, mean: bool = False) -> Array:
        """x ~ p(x|z), z ~ N(0, I); with `mean`, the mean of p(x|z) instead.   -> (count, D)"""
        z = random.normal(key.fold_in("z"), (count, self.config.latent_dim), dtype=self.dtype)
        logits, _ = self.decode(z)
        if mean:
            return self.likelihood.mean(logits)
        return self.likelihood.sample(logits, key.fold_in("x"))

    def reconstruct(self, x: Array) -> Array:
        """The mean of p(x|z) at z = mu(x).   x (N, D) -> (N, D)"""
        (mu, _), _ = self.encode(x)
        return self.likelihood.mean(self.decode(mu)[0])

    def _check_noise(self, x: Array, noise: MLPVAENoise) -> None:
        shape = (len(x), None, self.config.latent_dim)
        checks.check_noise("eps", noise.eps, shape, self.dtype)


class LogvarPosterior(Module):
    """q(z|x) = N(mu, exp(logvar)), with mu and logvar linear in h.

    All posteriors have these methods.
    Source: Kingma & Welling (2013), appendix C.2.
    """

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
        """KL(q(z|x) || N(0, I)) in closed form, nats.   -> (N)"""
        return gaussian_kl(mu, logvar)

    def kl_sampled(self, logvar: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
        """log q(z|x) - log p(z) at the sampled z.   -> (N, L)"""
        return gaussian_kl_sampled(logvar, z, eps)


class SigmaPosterior(Module):
    """q(z|x) = N(mu, sigma^2), with mu and sigma linear in h.

    sigma is unconstrained, and a negative one acts as its absolute value.
    """

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
        """KL(q(z|x) || N(0, I)) in closed form, nats, with log(sigma^2 + 1e-8).   -> (N)"""
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
    """q(z|x) is the point mu, the code of a plain autoencoder; its std is the constant 0."""

    def __init__(self, hidden_dim: int, latent_dim: int, dtype: DTypeLike = np.float64) -> None:
        self.mu = Linear(hidden_dim, latent_dim, dtype=dtype)

    def forward(self, h: Array) -> tuple[DeterministicParams, Vjp]:
        mu, mu_vjp = self.mu(h)
        return DeterministicParams(mu, np.zeros_like(mu)), lambda dmu, dstd: mu_vjp(dmu)

    def reparameterize(self, mu: Array, std: Array, eps: Array) -> tuple[Array, Vjp]:
        """z = mu for every eps."""
        z = mu[:, None] + std[:, None] * eps
        return z, lambda dz: (dz.sum(1), 0)

    def kl(self, mu: Array, std: Array) -> tuple[Array, Vjp]:
        """0 nats: the loss of an autoencoder has no KL term.   -> (N)"""
        return np.zeros_like(mu[:, 0]), lambda dkl: (0, 0)

    def kl_sampled(self, std: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
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
