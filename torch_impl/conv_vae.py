"""The convolutional variational autoencoder, vectorised.   Left panel: numpy_ref/conv_vae.py

Source: Kingma & Welling (2013), arXiv 1312.6114; layers after Radford, Metz & Chintala (2015),
arXiv 1511.06434; see model_specs.conv_vae for every choice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
from torch_impl.nn import checks, random
from torch_impl.nn.convolution import Conv2d, ConvTranspose2d
from torch_impl.nn.images import ACTIVATIONS, inside
from torch_impl.nn.init import INITS
from torch_impl.nn.layers import Linear
from torch_impl.nn.module import Module, as_device, as_dtype
from torch_impl.probability import discretized_logistics
from torch_impl.probability.distributions import (
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
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        factory_kwargs: dict[str, Any] = {"dtype": as_dtype(dtype), "device": as_device(device)}
        channels, features, Z = config.channels, config.features, config.latent_dim
        down: list[nn.Module] = []
        for i in range(STRIDES):
            first, a, b = i == 0, channels[i], channels[i + 1]
            down.append(Conv2d(a, b, 4, 2, 1, bias=first, **factory_kwargs))
            down += [nn.ReLU()] if first else [nn.BatchNorm2d(b, **factory_kwargs), nn.ReLU()]
        up: list[nn.Module] = []
        for i in reversed(range(STRIDES)):
            last, a, b = i == 0, channels[i + 1], channels[i] if i else config.outputs
            up.append(ConvTranspose2d(a, b, 4, 2, 1, bias=last, **factory_kwargs))
            up += [] if last else [nn.BatchNorm2d(b, **factory_kwargs), nn.ReLU()]
        self.encoder = nn.Sequential(*down)
        self.mu = Linear(features, Z, **factory_kwargs)
        self.logvar = Linear(features, Z, **factory_kwargs)
        self.decoder_input = Linear(Z, features, **factory_kwargs)
        self.decoder = nn.Sequential(*up)
        self.image_shape = config.in_channels, config.image_size, config.image_size
        self.code_shape = channels[-1], config.code_size, config.code_size
        INITS[config.init](self, key)

    @property
    def dtype(self) -> torch.dtype:
        return self.mu.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.mu.weight.device

    def draw_noise(
        self, key: Key, batch_size: int, *, samples: int | None = None, first: int = 0
    ) -> ConvVAENoise:
        """Standard normal eps (N, Z), or (N, K, Z) with K `samples`: see random.draw_eps.

        `first` is the index of the first example, so that part of a batch gets the same noise as
        within the whole batch.
        """
        Z, key = self.config.latent_dim, key.fold_in("eps")
        eps = random.draw_eps(key, batch_size, samples, Z, first, self.dtype, self.device)
        return ConvVAENoise(eps)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The parameters of q(z|x).   x (N, C, S, S) -> mu, logvar (N, Z)

        Raises: ValueError for an x of wrong shape, dtype or range, NaN and inf too.
        """
        if self.config.recon_type == MIXTURE:
            checks.check_levels("x", x, self.image_shape, self)
        else:
            support = SUPPORTS[self.config.out_activation]
            checks.check_batch("x", x, self.image_shape, self, support)
        flat = self.encoder(x).flatten(1)
        return self.mu(flat).to(self.dtype), self.logvar(flat).to(self.dtype)

    def reparameterize(self, mu: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
        """z = mu + exp(logvar / 2) eps.   All are (N, Z), or mu and logvar broadcast to eps."""
        return mu + torch.exp(0.5 * logvar) * eps

    def decode(self, z: Tensor) -> Tensor:
        """The images before the output activation, or the parameters.   (N, Z) -> (N, P, S, S)"""
        code = self.decoder_input(z).reshape(len(z), *self.code_shape)
        return self.decoder(code).to(self.dtype)  # errors in full precision, under autocast too

    def activate(self, outputs: Tensor) -> Tensor:
        """The output activation. Any shape."""
        return ACTIVATIONS[self.config.out_activation](outputs)

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of p(x|z); that of a mixture is a constant.   (N, P, S, S) -> (N, C, S, S)"""
        if self.config.recon_type == MIXTURE:
            return discretized_logistics.discretized_logistic_mixture_mean(
                outputs, self.config.in_channels
            )
        if self.config.recon_type == LEARNED:
            return self.activate(outputs.chunk(2, 1)[0])
        return self.activate(outputs)

    def forward(
        self, x: Tensor, noise: ConvVAENoise | None = None, *, sample_posterior: bool = True
    ) -> ConvVAEOutput:
        """Compute recon, mu, logvar and z; without `sample_posterior`, z = mu.

        Shapes: x and recon (N, C, S, S), noise.eps, mu, logvar and z (N, Z).
        """
        mu, logvar = self.encode(x)
        z = mu
        if sample_posterior:
            z = self.reparameterize(mu, logvar, self._eps(x, noise))
        return ConvVAEOutput(self.mean(self.decode(z)), mu, logvar, z)

    def loss(self, x: Tensor, noise: ConvVAENoise) -> ConvVAELoss:
        """The loss terms; `loss.total.backward()` computes the gradients.

        Shapes: x (N, C, S, S), noise.eps (N, Z).
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar, self._eps(x, noise))
        inner = inside(self.decode(z), self.config.window)
        target = inside(x, self.config.window)
        error = self._error(inner, target)  # (N,)
        kl = gaussian_kl(mu, logvar)  # (N,)

        weight = 1 / len(x) if self.config.reduction == "mean" else 1.0
        per_pixel = self.config.reduction == "mean" and self.config.recon_type not in SUMMED
        recon_weight = weight / target[0].numel() if per_pixel else weight
        recon_term, kl_term = recon_weight * error.sum(), weight * kl.sum()
        return ConvVAELoss(recon_term + self.config.beta * kl_term, recon_term, kl_term)

    def _error(self, outputs: Tensor, x: Tensor) -> Tensor:
        """The reconstruction error, summed over the values of an image.

        Shapes: outputs (N, P, H, W), x (N, C, H, W) -> (N).
        """
        if self.config.recon_type == MIXTURE:
            return discretized_logistics.discretized_logistic_mixture_nll(outputs, x)
        flat, target = outputs.flatten(1), x.flatten(1)
        if self.config.recon_type == "bce":
            return bernoulli_nll(flat, target)
        if self.config.recon_type == LEARNED:
            return self._learned_error(flat, target)
        mean = self.activate(flat)
        if self.config.recon_type == "mse":
            error = squared_error(mean, target)
        else:
            error = gaussian_nll(mean, target, self.config.gaussian_std)
        return error

    def _learned_error(self, outputs: Tensor, x: Tensor) -> Tensor:
        """The error of recon_type gaussian_learned.   outputs (N, 2 C H W), x (N, C H W) -> (N)"""
        logits, logvar = outputs.chunk(2, -1)
        mean = self.activate(logits)
        return gaussian_learned_nll(mean, logvar, x, self.config.min_logvar)

    @torch.no_grad()
    def log_weight(self, x: Tensor, noise: ConvVAENoise) -> Tensor:
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
        mu, logvar = self.encode(x)
        checks.check_noise("eps", noise.eps, (len(x), None, self.config.latent_dim), self)
        z = self.reparameterize(mu[:, None], logvar[:, None], noise.eps)
        outputs = self.decode(z.flatten(0, 1))
        inner, target = (inside(a, self.config.window) for a in (outputs, x))
        nll = self._error(inner, target.repeat_interleave(z.shape[1], 0))
        return -nll.reshape(z.shape[:2]) - gaussian_kl_sampled(logvar, z, noise.eps)

    @torch.no_grad()
    def sample(self, key: Key, count: int, *, mean: bool = True) -> Tensor:
        """The mean of p(x|z) at z ~ N(0, I), or without `mean` a draw.   -> (count, C, S, S)

        Use it in evaluation mode: in training mode the samples are normalised as a batch.
        Raises: ValueError for a count < 1, or for a draw with recon_type mse.
        """
        check_positive_int("count", count)
        shape = (count, self.config.latent_dim)
        z = random.normal(key.fold_in("z"), shape, dtype=self.dtype, device=self.device)
        outputs = self.decode(z)
        return self.mean(outputs) if mean else self._draw(outputs, key.fold_in("x"))

    def _draw(self, outputs: Tensor, key: Key) -> Tensor:
        if self.config.recon_type == "mse":
            raise ValueError(
                "mean: got False, takes True for recon_type mse, which is not a likelihood"
            )
        if self.config.recon_type == MIXTURE:
            shape = len(outputs), 1 + self.image_shape[0], *outputs.shape[2:]
            u = random.uniform(key, shape, device=self.device)
            return discretized_logistics.discretized_logistic_mixture_sample(outputs, u)
        recon = self.mean(outputs)
        if self.config.recon_type == "bce":
            return random.bernoulli(key, recon)
        shape = tuple(recon.shape)
        eps = random.normal(key, shape, dtype=self.dtype, device=self.device)
        if self.config.recon_type == LEARNED:
            logvar = floor_logvar(outputs.chunk(2, 1)[1], self.config.min_logvar)
            return recon + torch.exp(0.5 * logvar) * eps
        return recon + self.config.gaussian_std * eps

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean of p(x|z) at z = mu(x).   x (N, C, S, S) -> (N, C, S, S)"""
        return self.forward(x, sample_posterior=False).recon

    def _eps(self, x: Tensor, noise: ConvVAENoise | None) -> Tensor:
        if noise is None:
            raise ValueError(
                "noise: got None, takes the noise of draw_noise, or sample_posterior=False"
            )
        checks.check_noise("eps", noise.eps, (len(x), self.config.latent_dim), self)
        return noise.eps
