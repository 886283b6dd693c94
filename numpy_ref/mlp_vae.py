"""The MLP variational autoencoder, by hand.   Right panel: torch_impl/mlp_vae.py

Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2013), arXiv 1312.6114.
Where we differ: ReLU by default (the paper: tanh); see model_specs.mlp_vae for every choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig, MLPVAELoss, MLPVAENoise
from numpy_ref.nn import checks, random
from numpy_ref.nn.init import INITS
from numpy_ref.nn.layers import Linear, ReLU, Tanh
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.probability.likelihoods import Likelihood, make_likelihood
from numpy_ref.probability.posteriors import POSTERIORS, Posterior

ACTIVATIONS = {"relu": ReLU, "tanh": Tanh}


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
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.config = config
        D, H, Z = config.input_dim, config.hidden_dim, config.latent_dim
        activation = ACTIVATIONS[config.activation]
        self.encoder_hidden = Linear(D, H, dtype=dtype, input_grad=False)
        self.encoder_activation = activation()
        self.posterior: Posterior = POSTERIORS[config.posterior](H, Z, dtype=dtype)
        self.decoder_hidden = Linear(Z, H, dtype=dtype)
        self.decoder_activation = activation()
        self.decoder_logits = Linear(H, D * config.outputs, dtype=dtype)
        self.likelihood: Likelihood = make_likelihood(config)
        INITS[config.init](self, key)

    @property
    def dtype(self) -> np.dtype:
        return self.encoder_hidden.weight.data.dtype

    def draw_noise(
        self, key: Key, batch_size: int, *, samples: int | None = None, first: int = 0
    ) -> MLPVAENoise:
        """eps (N, L, Z) of the stream "eps" (see random.draw_eps), L `samples` or config.samples.

        `first` is the number of the first example, so that a part of a batch gets its noise in the
        whole.
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
        """z = mu + std eps.   mu and spread (N, Z), eps (N, L, Z) -> z (N, L, Z)"""
        return self.posterior.reparameterize(mu, scale, eps)

    def decode(self, z: Array) -> tuple[Array, Vjp]:
        """The logits of p(x|z), or what it has in their place.   z (..., Z) -> (..., D outputs)"""
        h, h_vjp = self.decoder_hidden(z)
        a, a_vjp = self.decoder_activation(h)
        logits, logits_vjp = self.decoder_logits(a)
        return logits, lambda dlogits: h_vjp(a_vjp(logits_vjp(dlogits)))

    def loss(self, x: Array, noise: MLPVAENoise) -> tuple[MLPVAELoss, Callable[[], None]]:
        """Loss terms, and `backward`, which adds d total / d parameter to every `.grad`.

        x (N, D), noise.eps (N, L, Z); L is the noise's, whatever config.samples draws by default.
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        (mu, scale), encode_vjp = self.encode(x)
        self._check_noise(x, noise)
        N, L, beta = len(x), noise.eps.shape[1], self.config.beta
        weight = 1 / N if self.config.reduction == "mean" else 1.0

        z, z_vjp = self.reparameterize(mu, scale, noise.eps)
        logits, decode_vjp = self.decode(z)
        nll, nll_vjp = self.likelihood.nll(logits, x)  # (N, L)
        kl, kl_vjp = self._kl(mu, scale, z, noise.eps)  # (N, L) for A, (N, 1) for B

        recon_term = weight * nll.mean(1).sum()
        kl_term = weight * kl.mean(1).sum()

        def backward() -> None:
            dkl = np.full_like(kl, beta * weight / kl.shape[1])
            dnll = np.full_like(nll, weight / L)
            dmu_kl, dspread_kl, dz_kl = kl_vjp(dkl)
            dmu, dscale = z_vjp(decode_vjp(nll_vjp(dnll)) + dz_kl)
            encode_vjp(dmu + dmu_kl, dscale + dspread_kl)

        return MLPVAELoss(recon_term + beta * kl_term, recon_term, kl_term), backward

    def _kl(self, mu: Array, scale: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
        """By estimator A or B; the vjp gives (dmu, dspread, dz)."""
        if self.config.estimator == "A":
            kl, kl_vjp = self.posterior.kl_sampled(scale, z, eps)
            return kl, lambda dkl: (0, *kl_vjp(dkl))
        kl, kl_vjp = self.posterior.kl(mu, scale)
        return kl[:, None], lambda dkl: (*kl_vjp(dkl[:, 0]), 0)

    def log_weight(self, x: Array, noise: MLPVAENoise) -> Array:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + std eps, nats; value only.

        x (N, D), noise.eps (N, K, Z) -> (N, K). Its mean is the ELBO, its log-mean-exp over K
        the importance-weighted bound of Burda et al. (2015), which tends to log p(x).
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
