"""The MLP variational autoencoder, vectorised.   Left panel: numpy_ref/mlp_vae.py

Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2013), arXiv 1312.6114.
Where we differ: ReLU by default (the paper: tanh); see model_specs.mlp_vae for every choice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig, MLPVAELoss, MLPVAENoise
from torch_impl.nn import checks, random
from torch_impl.nn.init import INITS
from torch_impl.nn.layers import Linear
from torch_impl.nn.module import Module, as_device, as_dtype
from torch_impl.probability.likelihoods import Likelihood, make_likelihood
from torch_impl.probability.posteriors import POSTERIORS, Posterior

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class MLPVAE(Module):
    """x -> hidden -> q(z|x) = N(mu, std^2);   z = mu + std eps;   z -> hidden -> p(x|z).

        loss = E_q[-log p(x|z)] + beta KL(q(z|x) || N(0, I))          (= -ELBO at beta = 1)

    Shapes: N examples, D = input_dim, H = hidden_dim, Z = latent_dim, L = samples.
    Units: nats; see MLPVAELoss for what is summed and what is averaged.
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
        self.posterior: Posterior = POSTERIORS[config.posterior](H, Z, **factory_kwargs)
        self.decoder_hidden = Linear(Z, H, **factory_kwargs)
        self.decoder_activation = activation()
        self.decoder_logits = Linear(H, D * config.outputs, **factory_kwargs)
        self.likelihood: Likelihood = make_likelihood(config)
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
        """eps (N, L, Z) of the stream "eps" (see random.draw_eps), L `samples` or config.samples.

        `first` is the number of the first example, so that a part of a batch gets its noise in the
        whole.
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
        """z = mu + std eps.   mu and spread (N, Z), eps (N, L, Z) -> z (N, L, Z)"""
        return self.posterior.reparameterize(mu, scale, eps)

    def decode(self, z: Tensor) -> Tensor:
        """The logits of p(x|z), or what it has in their place.   z (..., Z) -> (..., D outputs)"""
        logits = self.decoder_logits(self.decoder_activation(self.decoder_hidden(z)))
        return logits.to(self.dtype)  # under autocast densities still need every digit

    def loss(self, x: Tensor, noise: MLPVAENoise) -> MLPVAELoss:
        """Loss terms; `loss.total.backward()` does the rest.

        x (N, D), noise.eps (N, L, Z); L is the noise's, whatever config.samples draws by default.
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        mu, scale = self.encode(x)
        self._check_noise(x, noise)
        weight = 1 / len(x) if self.config.reduction == "mean" else 1.0

        z = self.reparameterize(mu, scale, noise.eps)
        logits = self.decode(z)
        nll = self.likelihood.nll(logits, x)  # (N, L)
        kl = self._kl(mu, scale, z, noise.eps)  # (N, L) for A, (N, 1) for B

        recon_term = weight * nll.mean(1).sum()
        kl_term = weight * kl.mean(1).sum()
        return MLPVAELoss(recon_term + self.config.beta * kl_term, recon_term, kl_term)

    def _kl(self, mu: Tensor, scale: Tensor, z: Tensor, eps: Tensor) -> Tensor:
        """By estimator A or B."""
        if self.config.estimator == "A":
            return self.posterior.kl_sampled(scale, z, eps)
        return self.posterior.kl(mu, scale)[:, None]

    @torch.no_grad()
    def log_weight(self, x: Tensor, noise: MLPVAENoise) -> Tensor:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + std eps, nats; value only.

        x (N, D), noise.eps (N, K, Z) -> (N, K). Its mean is the ELBO, its log-mean-exp over K
        the importance-weighted bound of Burda et al. (2015), which tends to log p(x).
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
