"""Log-likelihoods and KL divergences. Nats, one number an example, summed over the last axis."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

CLAMP = 1e-8


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x | logits) = sum_d softplus(logits_d) - x_d logits_d.

    Shapes: logits (..., D), x broadcast to it -> (...).
    x in [0, 1]; a grey x gives the cross-entropy, which is a bound and not a density.
    torch's fused form adds |logits| and takes it away again: where a pixel is sure and right, it
    keeps eps |logits| nats and not the digits of e^-|logits|, which the left panel keeps.
    """
    x = x.expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def bernoulli_clamped_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-sum_d x_d log(p_d + c) + (1 - x_d) log(1 - p_d + c), p = sigmoid(logits), c = 1e-8.

    The form that circulates with the sigma posterior; biased where p is within c of 0 or 1.
    Shapes as in `bernoulli_nll`.
    """
    p = torch.sigmoid(logits)
    q = torch.sigmoid(-logits)  # 1 - p, without the cancellation
    return -(x * torch.log(p + CLAMP) + (1 - x) * torch.log(q + CLAMP)).sum(-1)


def gaussian_nll(mean: Tensor, x: Tensor, std: float) -> Tensor:
    """-log N(x; mean, std^2) = |x - mean|^2 / (2 std^2) + D (log std + log(2 pi) / 2).

    Shapes as in `bernoulli_nll`, with the mean in the place of the logits.
    """
    error = (mean - x) / std
    constant = mean.shape[-1] * (math.log(std) + 0.5 * math.log(2 * math.pi))
    return 0.5 * (error * error).sum(-1) + constant


def squared_error(mean: Tensor, x: Tensor) -> Tensor:
    """sum_d (mean_d - x_d)^2. Shapes as in `gaussian_nll`; not nats."""
    error = mean - x
    return (error * error).sum(-1)


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) = 1/2 sum mu^2 + exp(logvar) - 1 - logvar.

    expm1 keeps the digits that exp(logvar) - 1 would cancel where the posterior is the prior.
    Shapes: (..., Z) -> (...). Source: Kingma & Welling 2013, appendix B, with the sign turned.
    """
    excess = torch.expm1(logvar)  # var - 1
    return 0.5 * (mu * mu + excess - logvar).sum(-1)


def gaussian_kl_sigma(mu: Tensor, sigma: Tensor) -> Tensor:
    """The same with sigma given, as it circulates: -1/2 sum 1 + log(sigma^2 + c) - mu^2 - sigma^2.

    c = 1e-8 keeps the logarithm finite at sigma = 0. Shapes as in `gaussian_kl`.
    """
    var = sigma * sigma
    return 0.5 * (mu * mu + var - torch.log(var + CLAMP) - 1).sum(-1)


def gaussian_kl_sampled(logvar: Tensor, z: Tensor, eps: Tensor) -> Tensor:
    """log q(z|x) - log p(z) at z = mu + std eps, = 1/2 sum z^2 - eps^2 - logvar.

    The quadratic form of q is eps^2 whatever mu and std are, and log(2 pi) / 2 stands in both
    densities, so neither is computed. Its mean over eps is `gaussian_kl`.
    Shapes: logvar (N, Z), z and eps (N, L, Z) -> (N, L).
    Source: estimator A, Kingma & Welling 2013, eq. 6.
    """
    return 0.5 * (z * z - eps * eps - logvar[:, None]).sum(-1)
