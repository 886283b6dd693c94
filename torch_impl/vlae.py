"""The variational lossy autoencoder, vectorised.   Left panel: numpy_ref/vlae.py

Source: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731; see
model_specs.vlae for every choice.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig, VLAELoss, VLAENoise
from torch_impl.autoregressive.ancestral import Progress, sample_pixels
from torch_impl.autoregressive.gated_pixel_cnn import GatedPixelCNN
from torch_impl.autoregressive.latents import kl_per_map, make_free_bits, make_latent
from torch_impl.autoregressive.pixel_cnn import FactorisedDecoder, PixelCNN
from torch_impl.autoregressive.resnet import make_networks
from torch_impl.autoregressive.stacked_pixel_cnn import StackedPixelCNN
from torch_impl.nn import checks, random
from torch_impl.nn.init import init_weight_v
from torch_impl.nn.module import Module, as_device, as_dtype
from torch_impl.nn.weight_norm import data_dependent_init
from torch_impl.probability.pixel_likelihoods import PIXEL_LIKELIHOODS

PIXEL_DECODERS: dict[str, Any] = {
    "none": FactorisedDecoder,
    "local": PixelCNN,
    "raster": PixelCNN,
    "stacks": StackedPixelCNN,
    "gated": GatedPixelCNN,
}
"""The class of p(x|maps) for each `config.context`."""


class VLAE(Module):
    """x -> q(z|x) = N(mu, exp(logvar));   z -> maps;   p(x|z) = prod_i p(x_i | x before i, maps).

        -ELBO = E_q[-log p(x|z)] + KL(q(z|x) || p(z))

    Shapes: N images of C channels, H x W pixels; Z = latent_dim, the values of the latent maps, or
    0 for a model without a latent; K draws; P parameters of the likelihood for each pixel.
    Units: nats; VLAELoss names the sums and averages.
    """

    def __init__(
        self,
        config: VLAEConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.example_shape, self.code_dim = config.example_shape, config.code_dim
        factory_kwargs: dict[str, Any] = {"dtype": as_dtype(dtype), "device": as_device(device)}
        self.likelihood = PIXEL_LIKELIHOODS[config.likelihood](config)
        self.encoder, self.decoder = make_networks(config, **factory_kwargs)
        self.latent = make_latent(config, key.fold_in("latent"), **factory_kwargs)
        self.pixels = PIXEL_DECODERS[config.context](config, config.outputs, **factory_kwargs)
        self.free_bits = make_free_bits(config, **factory_kwargs)
        init_weight_v(self, key)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def draw_noise(
        self, key: Key, batch_size: int, *, samples: int | None = None, first: int = 0
    ) -> VLAENoise:
        """Standard normal eps (N, Z), or (N, K, Z) with K `samples`: see random.draw_eps.

        `first` is the index of the first example, so that part of a batch gets the same noise as
        within the whole batch.
        """
        Z, key = self.code_dim, key.fold_in("eps")
        eps = random.draw_eps(key, batch_size, samples, Z, first, self.dtype, self.device)
        return VLAENoise(eps)

    @torch.no_grad()
    def initialize(self, x: Tensor, noise: VLAENoise) -> None:
        """Data-dependent initialisation of the weight-normalised layers by this batch.

        Shapes: x (N, C, H, W), noise.eps (N, Z).
        Raises: ValueError as `loss` does, before any weight is changed.
        """
        self.encode(x)
        self._check_noise(noise, (len(x), self.code_dim))
        training = self.training
        data_dependent_init(self.eval(), lambda: self.loss(x, noise))
        self.train(training)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The parameters of q(z|x).   x (N, C, H, W) -> mu, logvar (N, Z)

        Raises: ValueError for an x of wrong shape or dtype, or of other values than the pixels of
        the likelihood: 0 and 1, or the 256 levels k / 255.
        """
        self.likelihood.check("x", x, self)
        mu, logvar = self.encoder(x)
        return mu.to(self.dtype), logvar.to(self.dtype)

    def reparameterize(self, mu: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
        """z = mu + exp(logvar / 2) eps.   All are (N, Z), or mu and logvar broadcast to eps."""
        return mu + torch.exp(0.5 * logvar) * eps

    def decode(self, code: Tensor, x: Tensor) -> Tensor:
        """Parameters of p(x_i | x before i, code) for each pixel i: its logit, or its mixture.

        The code is the latent that the decoder reads: z, or the flow's u for an IAF posterior.
        Shapes: code (N, Z), x (N, C, H, W) -> params (N, P, H, W).
        Values of x between 0 and 1 are accepted, so that a slope can be measured by differences.
        Raises: ValueError for a code or an x of wrong shape or dtype.
        """
        checks.check_tensor("x", x, (None, *self.example_shape), self)
        checks.check_tensor("code", code, (len(x), self.code_dim), self)
        maps = self.decoder(code)
        return self.pixels(x, maps).to(self.dtype)  # under autocast the nll needs every digit

    def loss(self, x: Tensor, noise: VLAENoise) -> VLAELoss:
        """The loss terms; `loss.total.backward()` computes the gradients.

        Shapes: x (N, C, H, W), noise.eps (N, Z).
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        mu, logvar = self.encode(x)
        self._check_noise(noise, (len(x), self.code_dim))
        z = self.reparameterize(mu, logvar, noise.eps)
        code, kl = self.latent(mu, logvar, z, noise.eps)  # (N, Z), (N, G)
        nll = self.likelihood.nll(self.decode(code, x), x)  # (N,)
        kl_penalty = self.free_bits(kl)

        recon = nll.sum() / len(x)
        return VLAELoss(recon + kl_penalty, recon, kl.sum() / len(x))

    @torch.no_grad()
    def kl_of_maps(self, x: Tensor, noise: VLAENoise) -> Tensor:
        """The KL term of each latent map, averaged over the batch, nats; value only.

        They sum to the KL term of `loss`; see `kl_terms` of the latent.
        Shapes: x (N, C, H, W), noise.eps (N, Z) -> (latent_maps).
        Raises: ValueError as `loss` does, and for a latent that has no maps.
        """
        check_positive_int("latent_maps", self.config.latent_maps)
        mu, logvar = self.encode(x)
        self._check_noise(noise, (len(x), self.code_dim))
        z = self.reparameterize(mu, logvar, noise.eps)
        kl = self.latent.kl_terms(mu, logvar, z, noise.eps)
        return kl_per_map(kl, self.config.latent_maps)

    @torch.no_grad()
    def log_weight(self, x: Tensor, noise: VLAENoise) -> Tensor:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + std eps, nats; value only.

        Its mean is the ELBO, its log-mean-exp over K the importance-weighted bound of Burda et al.
        (2015), which tends to log p(x).
        Shapes: x (N, C, H, W), noise.eps (N, K, Z) -> (N, K).
        """
        mu, logvar = self.encode(x)
        N, K, Z = self._check_noise(noise, (len(x), None, self.code_dim))
        z = self.reparameterize(mu[:, None], logvar[:, None], noise.eps)
        code, kl = self.latent.kl_sampled(logvar, z, noise.eps)
        images = x.repeat_interleave(K, 0)
        nll = self.likelihood.nll(self.decode(code.reshape(N * K, Z), images), images)
        return -nll.reshape(N, K) - kl

    @torch.no_grad()
    def sample(
        self, key: Key, count: int, *, mean: bool = True, progress: Progress | None = None
    ) -> Tensor:
        """Images x ~ p(x), their pixels drawn one after the other.   -> (count, C, H, W)

        With `mean`, it returns the mean of p(x_i | x before i, z) with which each pixel was drawn,
        which for context "none" is the mean of p(x|z). `progress` is called with the number of
        pixels after each row.
        Raises: ValueError for a count < 1.
        """
        check_positive_int("count", count)
        shape = count, self.code_dim
        eps = random.normal(key.fold_in("z"), shape, dtype=self.dtype, device=self.device)
        return self._sample_pixels(self.latent.generate(eps), key, mean, progress)

    @torch.no_grad()
    def reconstruct(
        self,
        x: Tensor,
        key: Key = Key(0),  # noqa: B008  (immutable)
        *,
        mean: bool = False,
        progress: Progress | None = None,
        first: int = 0,
    ) -> Tensor:
        """Lossy reconstructions x' ~ p(x'|z) at z = mu(x).   x (N, C, H, W) -> (N, C, H, W)

        `first` is the index of the first image, as in `draw_noise`.
        Source: Chen et al. (2016), section 4.1.
        """
        mu, logvar = self.encode(x)
        eps = torch.zeros_like(mu)  # z = mu
        code, _ = self.latent.kl_sampled(logvar, mu[:, None], eps[:, None])
        return self._sample_pixels(code[:, 0], key, mean, progress, first)

    def _sample_pixels(
        self, code: Tensor, key: Key, mean: bool, progress: Progress | None, first: int = 0
    ) -> Tensor:
        maps = self.decoder(code)
        shape = len(code), self.config.draws, *self.example_shape[1:]
        start = first * math.prod(shape[1:])
        u = random.uniform(key.fold_in("x"), shape, start, self.dtype, self.device)
        draw = partial(self.likelihood.draw, mean=mean)
        x, means = sample_pixels(self.pixels, maps, u, progress, draw)
        return means if mean else x

    def _check_noise(self, noise: VLAENoise, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        checks.check_noise("eps", noise.eps, shape, self)
        return tuple(noise.eps.shape)
