"""The convolutional variational autoencoder, by hand.   Right panel: torch_impl/conv_vae.py

Source: Kingma & Welling (2013), arXiv 1312.6114; layers after Radford, Metz & Chintala (2015),
arXiv 1511.06434; see model_specs.conv_vae for every choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key
from model_specs.conv_vae import (
    LEARNED,
    MIXTURE,
    STRIDES,
    SUMMED,
    SUPPORTS,
    ConvVAEConfig,
    ConvVAELoss,
    ConvVAENoise,
    ConvVAEOutput,
)
from numpy_ref.nn import checks, random
from numpy_ref.nn.convolution import Conv2d, ConvTranspose2d
from numpy_ref.nn.functional import ReLU
from numpy_ref.nn.images import ACTIVATIONS, inside
from numpy_ref.nn.init import INITS
from numpy_ref.nn.layers import BatchNorm2d, Linear
from numpy_ref.nn.module import Array, Module, Sequential, Vjp
from numpy_ref.probability import discretized_logistics
from numpy_ref.probability.distributions import (
    bernoulli_nll,
    floor_logvar,
    gaussian_kl,
    gaussian_kl_sampled,
    gaussian_learned_nll,
    gaussian_nll,
    squared_error,
)


class ConvVAE(Module):
    """x -> convolutions -> q(z|x) = N(mu, exp(logvar));   z -> transposed convolutions -> recon.

        loss = recon error + beta KL(q(z|x) || N(0, I))
        recon error = sum over the C H W values of the image, without its black margin

    In training mode batch normalisation makes each image depend on its batch; call `eval()` first
    to compute images independently.
    Shapes: N images of C channels, S x S pixels, of them H x W inside the margin; Z = latent_dim,
    K draws.
    The decoder computes P = config.outputs values a pixel: C, or 2 C with the log variances
    of recon_type gaussian_learned last, or the parameters of a mixture.
    Units: nats, or squared errors for recon_type mse; ConvVAELoss names the sums and averages.
    """

    def __init__(
        self,
        config: ConvVAEConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.config = config
        channels, features, Z = config.channels, config.features, config.latent_dim
        down: list[Module] = []
        for i in range(STRIDES):
            first, a, b = i == 0, channels[i], channels[i + 1]
            down.append(Conv2d(a, b, 4, 2, 1, bias=first, dtype=dtype, input_grad=not first))
            down += [ReLU()] if first else [BatchNorm2d(b, dtype=dtype), ReLU()]
        up: list[Module] = []
        for i in reversed(range(STRIDES)):
            last, a, b = i == 0, channels[i + 1], channels[i] if i else config.outputs
            up.append(ConvTranspose2d(a, b, 4, 2, 1, bias=last, dtype=dtype))
            up += [] if last else [BatchNorm2d(b, dtype=dtype), ReLU()]
        self.encoder = Sequential(*down)
        self.mu = Linear(features, Z, dtype=dtype)
        self.logvar = Linear(features, Z, dtype=dtype)
        self.decoder_input = Linear(Z, features, dtype=dtype)
        self.decoder = Sequential(*up)
        self.image_shape = config.in_channels, config.image_size, config.image_size
        self.code_shape = channels[-1], config.code_size, config.code_size
        INITS[config.init](self, key)

    @property
    def dtype(self) -> np.dtype:
        return self.mu.weight.data.dtype

    def draw_noise(
        self, key: Key, batch_size: int, *, samples: int | None = None, first: int = 0
    ) -> ConvVAENoise:
        """Standard normal eps (N, Z), or (N, K, Z) with K `samples`: see random.draw_eps.

        `first` is the index of the first example, so that part of a batch gets the same noise as
        within the whole batch.
        """
        Z, key = self.config.latent_dim, key.fold_in("eps")
        eps = random.draw_eps(key, batch_size, samples, Z, first, self.dtype)
        return ConvVAENoise(eps)

    def encode(self, x: Array) -> tuple[tuple[Array, Array], Vjp]:
        """The parameters of q(z|x).   x (N, C, S, S) -> mu, logvar (N, Z)

        Raises: ValueError for an x of wrong shape, dtype or range, NaN and inf too.
        """
        if self.config.recon_type == MIXTURE:
            checks.check_levels("x", x, self.image_shape, self.dtype)
        else:
            support = SUPPORTS[self.config.out_activation]
            checks.check_batch("x", x, self.image_shape, self.dtype, support)
        h, h_vjp = self.encoder(x)
        flat = h.reshape(len(x), -1)
        mu, mu_vjp = self.mu(flat)
        logvar, logvar_vjp = self.logvar(flat)

        def vjp(dmu: Array, dlogvar: Array) -> Any:
            return h_vjp((mu_vjp(dmu) + logvar_vjp(dlogvar)).reshape(h.shape))

        return (mu, logvar), vjp

    def reparameterize(self, mu: Array, logvar: Array, eps: Array) -> tuple[Array, Vjp]:
        """z = mu + exp(logvar / 2) eps.   All are (N, Z), or mu and logvar broadcast to eps."""
        std = np.exp(0.5 * logvar)
        z = mu + std * eps
        return z, lambda dz: (dz, dz * eps * 0.5 * std)

    def decode(self, z: Array) -> tuple[Array, Vjp]:
        """The images before the output activation, or the parameters.   (N, Z) -> (N, P, S, S)"""
        h, h_vjp = self.decoder_input(z)
        code = h.reshape(len(z), *self.code_shape)
        outputs, outputs_vjp = self.decoder(code)
        return outputs, lambda doutputs: h_vjp(outputs_vjp(doutputs).reshape(h.shape))

    def activate(self, outputs: Array) -> tuple[Array, Vjp]:
        """The output activation. Any shape."""
        return ACTIVATIONS[self.config.out_activation](outputs)

    def mean(self, outputs: Array) -> tuple[Array, Vjp]:
        """The mean of p(x|z); that of a mixture is a constant.   (N, P, S, S) -> (N, C, S, S)"""
        if self.config.recon_type == MIXTURE:
            mean = discretized_logistics.discretized_logistic_mixture_mean(
                outputs, self.config.in_channels
            )
            return mean, lambda dmean: np.zeros_like(outputs)
        if self.config.recon_type == LEARNED:
            mean, logvar = np.split(outputs, 2, 1)
            y, y_vjp = self.activate(mean)
            return y, lambda dy: np.concatenate([y_vjp(dy), np.zeros_like(logvar)], 1)
        return self.activate(outputs)

    def forward(
        self, x: Array, noise: ConvVAENoise | None = None, *, sample_posterior: bool = True
    ) -> tuple[ConvVAEOutput, Vjp]:
        """Compute recon, mu, logvar and z; without `sample_posterior`, z = mu.

        Shapes: x and recon (N, C, S, S), noise.eps, mu, logvar and z (N, Z).
        The vjp takes the gradients of the four, in this order.
        """
        (mu, logvar), encode_vjp = self.encode(x)
        z, z_vjp = mu, lambda dz: (dz, 0)
        if sample_posterior:
            eps = self._eps(x, noise)
            z, z_vjp = self.reparameterize(mu, logvar, eps)
        outputs, decode_vjp = self.decode(z)
        recon, recon_vjp = self.mean(outputs)

        def vjp(drecon: Array, dmu: Array, dlogvar: Array, dz: Array) -> Any:
            dmu_z, dlogvar_z = z_vjp(decode_vjp(recon_vjp(drecon)) + dz)
            return encode_vjp(dmu + dmu_z, dlogvar + dlogvar_z)

        return ConvVAEOutput(recon, mu, logvar, z), vjp

    def loss(self, x: Array, noise: ConvVAENoise) -> tuple[ConvVAELoss, Callable[[], None]]:
        """The loss terms, and `backward`, which adds d total / d parameter to every `.grad`.

        Shapes: x (N, C, S, S), noise.eps (N, Z).
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        (mu, logvar), encode_vjp = self.encode(x)
        z, z_vjp = self.reparameterize(mu, logvar, self._eps(x, noise))
        outputs, decode_vjp = self.decode(z)
        inner, inner_vjp = inside(outputs, self.config.window)
        target, _ = inside(x, self.config.window)
        error, error_vjp = self._error(inner, target)  # (N,)
        kl, kl_vjp = gaussian_kl(mu, logvar)  # (N,)

        weight = 1 / len(x) if self.config.reduction == "mean" else 1.0
        per_pixel = self.config.reduction == "mean" and self.config.recon_type not in SUMMED
        recon_weight = weight / target[0].size if per_pixel else weight
        recon_term, kl_term = recon_weight * error.sum(), weight * kl.sum()

        def backward() -> None:
            dmu_kl, dlogvar_kl = kl_vjp(np.full_like(kl, self.config.beta * weight))
            doutputs = inner_vjp(error_vjp(np.full_like(error, recon_weight)))
            dmu, dlogvar = z_vjp(decode_vjp(doutputs))
            encode_vjp(dmu + dmu_kl, dlogvar + dlogvar_kl)

        total = recon_term + self.config.beta * kl_term
        return ConvVAELoss(total, recon_term, kl_term), backward

    def _error(self, outputs: Array, x: Array) -> tuple[Array, Vjp]:
        """The reconstruction error, summed over the values of an image.

        Shapes: outputs (N, P, H, W), x (N, C, H, W) -> (N).
        """
        if self.config.recon_type == MIXTURE:
            return discretized_logistics.discretized_logistic_mixture_nll(outputs, x)
        flat, target = outputs.reshape(len(x), -1), x.reshape(len(x), -1)
        if self.config.recon_type == "bce":
            return bernoulli_nll(flat, target)
        if self.config.recon_type == LEARNED:
            return self._learned_error(flat, target)
        mean, mean_vjp = self.activate(flat)
        if self.config.recon_type == "mse":
            error, vjp = squared_error(mean, target)
        else:
            error, vjp = gaussian_nll(mean, target, self.config.gaussian_std)
        return error, lambda derror: mean_vjp(vjp(derror))

    def _learned_error(self, outputs: Array, x: Array) -> tuple[Array, Vjp]:
        """The error of recon_type gaussian_learned.   outputs (N, 2 C H W), x (N, C H W) -> (N)"""
        logits, logvar = np.split(outputs, 2, -1)
        mean, mean_vjp = self.activate(logits)
        error, error_vjp = gaussian_learned_nll(mean, logvar, x, self.config.min_logvar)

        def vjp(derror: Array) -> Array:
            dmean, dlogvar = error_vjp(derror)
            return np.concatenate([mean_vjp(dmean), dlogvar], -1)

        return error, vjp

    def log_weight(self, x: Array, noise: ConvVAENoise) -> Array:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + std eps, nats; value only.

            log p(x|z) = sum over the C H W values inside the margin of log p(x_i|z)

        The mean over K estimates the ELBO. The log-mean-exp over K is the importance-weighted bound
        of Burda et al. (2015), which tends to log p(x).
        Shapes: x (N, C, S, S), noise.eps (N, K, Z) -> (N, K).
        Raises: ValueError for recon_type mse, which is not a likelihood; the others are.
        """
        if self.config.recon_type == "mse":
            raise ValueError(
                "recon_type: got 'mse', which is not a likelihood; "
                f"takes 'bce', 'gaussian', {LEARNED!r} or {MIXTURE!r}"
            )
        (mu, logvar), _ = self.encode(x)
        Z = self.config.latent_dim
        checks.check_noise("eps", noise.eps, (len(x), None, Z), self.dtype)
        z, _ = self.reparameterize(mu[:, None], logvar[:, None], noise.eps)
        outputs, _ = self.decode(z.reshape(-1, Z))
        inner, target = (inside(a, self.config.window)[0] for a in (outputs, x))
        nll, _ = self._error(inner, np.repeat(target, z.shape[1], 0))
        return -nll.reshape(z.shape[:2]) - gaussian_kl_sampled(logvar, z, noise.eps)[0]

    def sample(self, key: Key, count: int, *, mean: bool = True) -> Array:
        """The mean of p(x|z) at z ~ N(0, I), or without `mean` a draw.   -> (count, C, S, S)

        Use it in evaluation mode: in training mode the samples are normalised as a batch.
        Raises: ValueError for a count < 1, or for a draw with recon_type mse.
        """
        check_positive_int("count", count)
        z = random.normal(key.fold_in("z"), (count, self.config.latent_dim), dtype=self.dtype)
        outputs, _ = self.decode(z)
        return self.mean(outputs)[0] if mean else self._draw(outputs, key.fold_in("x"))

    def _draw(self, outputs: Array, key: Key) -> Array:
        if self.config.recon_type == "mse":
            raise ValueError(
                "mean: got False, takes True for recon_type mse, which is not a likelihood"
            )
        if self.config.recon_type == MIXTURE:
            u = random.uniform(key, (len(outputs), 1 + self.image_shape[0], *outputs.shape[2:]))
            return discretized_logistics.discretized_logistic_mixture_sample(outputs, u)
        recon, _ = self.mean(outputs)
        if self.config.recon_type == "bce":
            return random.bernoulli(key, recon)
        eps = random.normal(key, recon.shape, dtype=self.dtype)
        if self.config.recon_type == LEARNED:
            logvar, _ = floor_logvar(np.split(outputs, 2, 1)[1], self.config.min_logvar)
            return recon + np.exp(0.5 * logvar) * eps
        return recon + self.config.gaussian_std * eps

    def reconstruct(self, x: Array) -> Array:
        """The mean of p(x|z) at z = mu(x).   x (N, C, S, S) -> (N, C, S, S)"""
        return self.forward(x, sample_posterior=False)[0].recon

    def _eps(self, x: Array, noise: ConvVAENoise | None) -> Array:
        if noise is None:
            raise ValueError(
                "noise: got None, takes the noise of draw_noise, or sample_posterior=False"
            )
        checks.check_noise("eps", noise.eps, (len(x), self.config.latent_dim), self.dtype)
        return noise.eps
