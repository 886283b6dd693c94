"""Likelihoods p(x|z) as modules without parameters: what a decoder's output means.

Shapes: logits (N, L, D), x (N, D) -> nll (N, L), nats.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_specs.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from torch_impl import random
from torch_impl.distributions import bernoulli_clamped_nll, bernoulli_nll, gaussian_nll


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


def make_likelihood(config: MLPVAEConfig) -> Bernoulli | Gaussian:
    """The likelihood that `config.likelihood` names."""
    if config.likelihood == "gaussian":
        return Gaussian(config.gaussian_std)
    return {"bernoulli": Bernoulli, "bernoulli_clamped": ClampedBernoulli}[config.likelihood]()
