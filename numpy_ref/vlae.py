"""The variational lossy autoencoder, by hand.   Right panel: torch_impl/vlae.py

Source: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731; see
model_specs.vlae for every choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig, VLAELoss, VLAENoise
from numpy_ref.autoregressive.ancestral import Progress, sample_pixels
from numpy_ref.autoregressive.gated_pixel_cnn import GatedPixelCNN
from numpy_ref.autoregressive.latents import kl_per_map, make_free_bits, make_latent
from numpy_ref.autoregressive.pixel_cnn import FactorisedDecoder, PixelCNN
from numpy_ref.autoregressive.resnet import make_networks
from numpy_ref.autoregressive.stacked_pixel_cnn import StackedPixelCNN
from numpy_ref.nn import checks, random
from numpy_ref.nn.init import init_weight_v
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.nn.weight_norm import data_dependent_init
from numpy_ref.probability.pixel_likelihoods import PIXEL_LIKELIHOODS

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
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.config = config
        self.example_shape, self.code_dim = config.example_shape, config.code_dim
        self.likelihood = PIXEL_LIKELIHOODS[config.likelihood](config)
        self.encoder, self.decoder = make_networks(config, dtype=dtype)
        self.latent = make_latent(config, key.fold_in("latent"), dtype)
        self.pixels = PIXEL_DECODERS[config.context](config, config.outputs, dtype=dtype)
        self.free_bits = make_free_bits(config, dtype)
        init_weight_v(self, key)

    @property
    def dtype(self) -> np.dtype:
        return next(self.parameters()).data.dtype

    def draw_noise(
        self, key: Key, batch_size: int, *, samples: int | None = None, first: int = 0
    ) -> VLAENoise:
        """Standard normal eps (N, Z), or (N, K, Z) with K `samples`: see random.draw_eps.

        `first` is the index of the first example, so that part of a batch gets the same noise as
        within the whole batch.
        """
        Z, key = self.code_dim, key.fold_in("eps")
        eps = random.draw_eps(key, batch_size, samples, Z, first, self.dtype)
        return VLAENoise(eps)

    def initialize(self, x: Array, noise: VLAENoise) -> None:
        """Data-dependent initialisation of the weight-normalised layers by this batch.

        Shapes: x (N, C, H, W), noise.eps (N, Z).
        Raises: ValueError as `loss` does, before any weight is changed.
        """
        self.encode(x)
        self._check_noise(noise, (len(x), self.code_dim))
        training = self.training
        data_dependent_init(self.eval(), lambda: self.loss(x, noise))
        self.train(training)

    def encode(self, x: Array) -> tuple[tuple[Array, Array], Vjp]:
        """The parameters of q(z|x).   x (N, C, H, W) -> mu, logvar (N, Z)

        Raises: ValueError for an x of wrong shape or dtype, or of other values than the pixels of
        the likelihood: 0 and 1, or the 256 levels k / 255.
        """
        self.likelihood.check("x", x, self.dtype)
        return self.encoder(x)

    def reparameterize(self, mu: Array, logvar: Array, eps: Array) -> tuple[Array, Vjp]:
        """z = mu + exp(logvar / 2) eps.   All are (N, Z), or mu and logvar broadcast to eps."""
        std = np.exp(0.5 * logvar)
        z = mu + std * eps
        return z, lambda dz: (dz, dz * eps * 0.5 * std)

    def decode(self, code: Array, x: Array) -> tuple[Array, Vjp]:
        """Parameters of p(x_i | x before i, code) for each pixel i: its logit, or its mixture.

        The code is the latent that the decoder reads: z, or the flow's u for an IAF posterior.
        Shapes: code (N, Z), x (N, C, H, W) -> params (N, P, H, W).
        The vjp gives the gradient of the code alone: x is a constant.
        Values of x between 0 and 1 are accepted, so that a slope can be measured by differences.
        Raises: ValueError for a code or an x of wrong shape or dtype.
        """
        checks.check_array("x", x, (None, *self.example_shape), self.dtype)
        checks.check_array("code", code, (len(x), self.code_dim), self.dtype)
        maps, maps_vjp = self.decoder(code)
        params, params_vjp = self.pixels(x, maps)

        def vjp(dparams: Array) -> Array:
            _, dmaps = params_vjp(dparams)
            return maps_vjp(dmaps)

        return params, vjp

    def loss(self, x: Array, noise: VLAENoise) -> tuple[VLAELoss, Callable[[], None]]:
        """The loss terms, and `backward`, which adds d total / d parameter to every `.grad`.

        Shapes: x (N, C, H, W), noise.eps (N, Z).
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        (mu, logvar), encode_vjp = self.encode(x)
        self._check_noise(noise, (len(x), self.code_dim))
        z, z_vjp = self.reparameterize(mu, logvar, noise.eps)
        (code, kl), latent_vjp = self.latent(mu, logvar, z, noise.eps)  # (N, Z), (N, G)
        params, decode_vjp = self.decode(code, x)
        nll, nll_vjp = self.likelihood.nll(params, x)  # (N,)
        kl_penalty, kl_penalty_vjp = self.free_bits(kl)

        share = 1 / len(x)
        recon = share * nll.sum()

        def backward() -> None:
            dcode = decode_vjp(nll_vjp(np.full_like(nll, share)))
            dmu, dlogvar, dz = latent_vjp(dcode, kl_penalty_vjp(np.ones_like(kl_penalty)))
            dmu_z, dlogvar_z = z_vjp(dz)
            encode_vjp(dmu + dmu_z, dlogvar + dlogvar_z)

        return VLAELoss(recon + kl_penalty, recon, share * kl.sum()), backward

    def kl_of_maps(self, x: Array, noise: VLAENoise) -> Array:
        """The KL term of each latent map, averaged over the batch, nats; value only.

        They sum to the KL term of `loss`; see `kl_terms` of the latent.
        Shapes: x (N, C, H, W), noise.eps (N, Z) -> (latent_maps).
        Raises: ValueError as `loss` does, and for a latent that has no maps.
        """
        check_positive_int("latent_maps", self.config.latent_maps)
        (mu, logvar), _ = self.encode(x)
        self._check_noise(noise, (len(x), self.code_dim))
        z, _ = self.reparameterize(mu, logvar, noise.eps)
        kl = self.latent.kl_terms(mu, logvar, z, noise.eps)
        return kl_per_map(kl, self.config.latent_maps)

    def log_weight(self, x: Array, noise: VLAENoise) -> Array:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + std eps, nats; value only.

        Its mean is the ELBO, its log-mean-exp over K the importance-weighted bound of Burda et al.
        (2015), which tends to log p(x).
        Shapes: x (N, C, H, W), noise.eps (N, K, Z) -> (N, K).
        """
        (mu, logvar), _ = self.encode(x)
        N, K, Z = self._check_noise(noise, (len(x), None, self.code_dim))
        z, _ = self.reparameterize(mu[:, None], logvar[:, None], noise.eps)
        code, kl = self.latent.kl_sampled(logvar, z, noise.eps)
        images = np.repeat(x, K, axis=0)
        params, _ = self.decode(code.reshape(N * K, Z), images)
        nll, _ = self.likelihood.nll(params, images)
        return -nll.reshape(N, K) - kl

    def sample(
        self, key: Key, count: int, *, mean: bool = True, progress: Progress | None = None
    ) -> Array:
        """Images x ~ p(x), their pixels drawn one after the other.   -> (count, C, H, W)

        With `mean`, it returns the mean of p(x_i | x before i, z) with which each pixel was drawn,
        which for context "none" is the mean of p(x|z). `progress` is called with the number of
        pixels after each row.
        Raises: ValueError for a count < 1.
        """
        check_positive_int("count", count)
        eps = random.normal(key.fold_in("z"), (count, self.code_dim), dtype=self.dtype)
        return self._sample_pixels(self.latent.generate(eps), key, mean, progress)

    def reconstruct(
        self,
        x: Array,
        key: Key = Key(0),  # noqa: B008  (immutable)
        *,
        mean: bool = False,
        progress: Progress | None = None,
        first: int = 0,
    ) -> Array:
        """Lossy reconstructions x' ~ p(x'|z) at z = mu(x).   x (N, C, H, W) -> (N, C, H, W)

        `first` is the index of the first image, as in `draw_noise`.
        Source: Chen et al. (2016), section 4.1.
        """
        (mu, logvar), _ = self.encode(x)
        eps = np.zeros_like(mu)  # z = mu
        code, _ = self.latent.kl_sampled(logvar, mu[:, None], eps[:, None])
        return self._sample_pixels(code[:, 0], key, mean, progress, first)

    def _sample_pixels(
        self, code: Array, key: Key, mean: bool, progress: Progress | None, first: int = 0
    ) -> Array:
        maps, _ = self.decoder(code)
        shape = len(code), self.config.draws, *self.example_shape[1:]
        start = first * math.prod(shape[1:])
        u = random.uniform(key.fold_in("x"), shape, start, self.dtype)
        draw = partial(self.likelihood.draw, mean=mean)
        x, means = sample_pixels(self.pixels, maps, u, progress, draw)
        return means if mean else x

    def _check_noise(self, noise: VLAENoise, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        checks.check_noise("eps", noise.eps, shape, self.dtype)
        return noise.eps.shape
