"""Likelihoods p(x|z) as modules without parameters: what a decoder's output means.

Shapes: logits (N, L, D), x (N, D) -> nll (N, L), nats; for a Beta logits are (N, L, 2 D).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import random
from numpy_ref.nn.functional import sigmoid
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.probability.distributions import bernoulli_clamped_nll, bernoulli_nll, gaussian_nll
from numpy_ref.probability.grey_distributions import (
    beta_icdf,
    beta_nll,
    continuous_bernoulli_icdf,
    continuous_bernoulli_mean,
    continuous_bernoulli_nll,
    truncated_gaussian_icdf,
    truncated_gaussian_mean,
    truncated_gaussian_nll,
)


class Bernoulli(Module):
    """p(x|z) = prod_d Bernoulli(x_d; sigmoid(logits_d))."""

    support = (0.0, 1.0)

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return bernoulli_nll(logits, x[:, None])

    def mean(self, logits: Array) -> Array:
        return sigmoid(logits)

    def sample(self, logits: Array, key: Key) -> Array:
        return random.bernoulli(key, self.mean(logits))


class ClampedBernoulli(Bernoulli):
    """The same, its nll computed from probabilities clamped with log(p + 1e-8)."""

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return bernoulli_clamped_nll(logits, x[:, None])


class ContinuousBernoulli(Module):
    """p(x|z) = prod_d l_d e^(l_d x_d) / (e^l_d - 1): a density on [0, 1], l its logits."""

    support = (0.0, 1.0)

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return continuous_bernoulli_nll(logits, x[:, None])

    def mean(self, logits: Array) -> Array:
        return continuous_bernoulli_mean(logits)

    def sample(self, logits: Array, key: Key) -> Array:
        return _invert(continuous_bernoulli_icdf, key, logits)


class Beta(Module):
    """p(x|z) = prod_d Beta(x_d), by its mean's logit and the log of its concentration.

    The decoder's first D outputs are the one, its last D the other.
    """

    support = (0.0, 1.0)

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        mean, concentration = np.split(logits, 2, -1)
        nll, nll_vjp = beta_nll(mean, concentration, x[:, None])
        return nll, lambda dnll: np.concatenate(nll_vjp(dnll), -1)

    def mean(self, logits: Array) -> Array:
        return sigmoid(np.split(logits, 2, -1)[0])

    def sample(self, logits: Array, key: Key) -> Array:
        return _invert(beta_icdf, key, *np.split(logits, 2, -1))


class Gaussian(Module):
    """p(x|z) = N(x; logits, std^2 I), std fixed: here the decoder's output is the mean itself."""

    support = (float("-inf"), float("inf"))

    def __init__(self, std: float) -> None:
        self.std = std

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return gaussian_nll(logits, x[:, None], self.std)

    def mean(self, logits: Array) -> Array:
        return logits

    def sample(self, logits: Array, key: Key) -> Array:
        return logits + self.std * random.normal(key, logits.shape, dtype=logits.dtype)


class TruncatedGaussian(Gaussian):
    """p(x|z) = N(x; logits, std^2 I) on [0, 1] alone; the mean before the cut may lie anywhere."""

    support = (0.0, 1.0)

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return truncated_gaussian_nll(logits, x[:, None], self.std)

    def mean(self, logits: Array) -> Array:
        return truncated_gaussian_mean(logits, self.std)

    def sample(self, logits: Array, key: Key) -> Array:
        return _invert(functools.partial(truncated_gaussian_icdf, std=self.std), key, logits)


Likelihood = Bernoulli | ContinuousBernoulli | Beta | Gaussian


def make_likelihood(config: MLPVAEConfig) -> Likelihood:
    """The likelihood that `config.likelihood` names."""
    make: dict[str, Callable[[], Likelihood]] = {
        "bernoulli": Bernoulli,
        "bernoulli_clamped": ClampedBernoulli,
        "continuous_bernoulli": ContinuousBernoulli,
        "beta": Beta,
        "gaussian": functools.partial(Gaussian, config.gaussian_std),
        "truncated_gaussian": functools.partial(TruncatedGaussian, config.gaussian_std),
    }
    return make[config.likelihood]()


def _invert(icdf: Callable[..., Array], key: Key, *parameters: Array) -> Array:
    """icdf(parameters, u), u uniform in (0, 1): the middles of 2^24 cells. Computed in float64."""
    u = random.uniform(key, parameters[0].shape) + 2.0**-25
    return icdf(*(p.astype(np.float64) for p in parameters), u).astype(parameters[0].dtype)
