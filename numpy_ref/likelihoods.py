"""Likelihoods p(x|z) as modules without parameters: what a decoder's output means.

Shapes: logits (N, L, D), x (N, D) -> nll (N, L), nats.
"""

from __future__ import annotations

from model_specs.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref import random
from numpy_ref.distributions import bernoulli_clamped_nll, bernoulli_nll, gaussian_nll
from numpy_ref.functional import sigmoid
from numpy_ref.module import Array, Module, Vjp


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


def make_likelihood(config: MLPVAEConfig) -> Bernoulli | Gaussian:
    """The likelihood that `config.likelihood` names."""
    if config.likelihood == "gaussian":
        return Gaussian(config.gaussian_std)
    return {"bernoulli": Bernoulli, "bernoulli_clamped": ClampedBernoulli}[config.likelihood]()
