"""Likelihoods p(x|z) as modules without parameters: what a decoder's output means.

Shapes: logits (N, L, D), x (N, D) -> nll (N, L), nats; for a Beta logits are (N, L, 2 D).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from torch_impl.nn import random
from torch_impl.probability.distributions import bernoulli_clamped_nll, bernoulli_nll, gaussian_nll
from torch_impl.probability.grey_distributions import (
    beta_icdf,
    beta_nll,
    continuous_bernoulli_icdf,
    continuous_bernoulli_mean,
    continuous_bernoulli_nll,
    truncated_gaussian_icdf,
    truncated_gaussian_mean,
    truncated_gaussian_nll,
)


class Bernoulli(nn.Module):
    """p(x|z) = prod_d Bernoulli(x_d; sigmoid(logits_d))."""

    support = (0.0, 1.0)

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return bernoulli_nll(logits, x[:, None])

    def mean(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        return random.bernoulli(key, self.mean(logits))


class ClampedBernoulli(Bernoulli):
    """The same, its nll computed from probabilities clamped with log(p + 1e-8)."""

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return bernoulli_clamped_nll(logits, x[:, None])


class ContinuousBernoulli(nn.Module):
    """p(x|z) = prod_d l_d e^(l_d x_d) / (e^l_d - 1): a density on [0, 1], l its logits."""

    support = (0.0, 1.0)

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return continuous_bernoulli_nll(logits, x[:, None])

    def mean(self, logits: Tensor) -> Tensor:
        return continuous_bernoulli_mean(logits)

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        return _invert(continuous_bernoulli_icdf, key, logits)


class Beta(nn.Module):
    """p(x|z) = prod_d Beta(x_d), by its mean's logit and the log of its concentration.

    The decoder's first D outputs are the one, its last D the other.
    """

    support = (0.0, 1.0)

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        mean, concentration = logits.chunk(2, -1)
        return beta_nll(mean, concentration, x[:, None])

    def mean(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits.chunk(2, -1)[0])

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        return _invert(beta_icdf, key, *logits.chunk(2, -1))


class Gaussian(nn.Module):
    """p(x|z) = N(x; logits, std^2 I), std fixed: here the decoder's output is the mean itself."""

    support = (float("-inf"), float("inf"))

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return gaussian_nll(logits, x[:, None], self.std)

    def mean(self, logits: Tensor) -> Tensor:
        return logits

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        shape = tuple(logits.shape)
        eps = random.normal(key, shape, dtype=logits.dtype, device=logits.device)
        return logits + self.std * eps


class TruncatedGaussian(Gaussian):
    """p(x|z) = N(x; logits, std^2 I) on [0, 1] alone; the mean before the cut may lie anywhere."""

    support = (0.0, 1.0)

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return truncated_gaussian_nll(logits, x[:, None], self.std)

    def mean(self, logits: Tensor) -> Tensor:
        return truncated_gaussian_mean(logits, self.std)

    def sample(self, logits: Tensor, key: Key) -> Tensor:
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


def _invert(icdf: Callable[..., Tensor], key: Key, *parameters: Tensor) -> Tensor:
    """icdf(parameters, u), u uniform in (0, 1): the middles of 2^24 cells. Computed in float64."""
    first = parameters[0]
    u = random.uniform(key, tuple(first.shape), device=first.device) + 2.0**-25
    return icdf(*(p.double() for p in parameters), u).to(first.dtype)
