"""Log-likelihoods and KL divergences, and the likelihoods p(x|z) of a decoder.

The functions return one number per example, summed over the last axis.

Shapes: N examples, L draws from q(z|x), D pixels, Z latents; `...` stands for any number of axes.
The methods of a likelihood take logits (N, L, D), or (N, L, 2 D) for LearnedGaussian, and x (N, D).
Units: nats.
Source: the definitions, unless a function names a paper.
Left panel: numpy_ref/probability/distributions.py
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_specs.common.key import Key
from torch_impl.nn import random

CLAMP = 1e-8


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x | logits) = sum_d softplus(logits_d) - x_d logits_d.

    For a grey x this is the cross-entropy, which is not a density.
    Shapes: logits (..., D), x broadcast to it, in [0, 1] -> (...).
    torch's fused form adds |logits| and subtracts it again. Where the prediction is certain and
    right, it has an error of eps |logits| nats; the left panel keeps the digits of e^-|logits|.
    """
    x = x.expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def bernoulli_clamped_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-sum_d x_d log(p_d + c) + (1 - x_d) log(1 - p_d + c), p = sigmoid(logits), c = 1e-8.

    Much teaching code with the sigma posterior has this form; it is biased where p is within c of 0
    or 1.
    Shapes: as in `bernoulli_nll`.
    """
    p = torch.sigmoid(logits)
    q = torch.sigmoid(-logits)  # 1 - p, without the cancellation
    return -(x * torch.log(p + CLAMP) + (1 - x) * torch.log(q + CLAMP)).sum(-1)


def gaussian_nll(mean: Tensor, x: Tensor, std: float) -> Tensor:
    """-log N(x; mean, std^2) = |x - mean|^2 / (2 std^2) + D (log std + log(2 pi) / 2).

    Shapes: mean (..., D), x broadcast to it -> (...).
    """
    error = (mean - x) / std
    constant = mean.shape[-1] * (math.log(std) + 0.5 * math.log(2 * math.pi))
    return 0.5 * (error * error).sum(-1) + constant


def gaussian_learned_nll(
    mean: Tensor, logvar: Tensor, x: Tensor, min_logvar: float | None
) -> Tensor:
    """-log N(x; mean, sigma^2) = sum_d (x_d - mean_d)^2 / (2 sigma_d^2) + log(2 pi sigma_d^2) / 2.

        log sigma^2 = floor_logvar(logvar, min_logvar)

    Where a pixel has the same value in all images, sigma has no best value above 0 and the density
    no bound; the floor bounds it. Without one, sigma is e^(logvar / 2), whose inverse overflows
    below a logvar of -1419 (float32: -177).
    Shapes: mean and logvar (..., D), x broadcast to them -> (...).
    Source: Kingma & Welling (2013), appendix C.2, where mean and log sigma^2 are linear in the last
    hidden layer; Mattei & Frellsen (2018), arXiv 1802.04826, for the missing bound. Where we
    differ: the paper has no floor.
    """
    log_var = floor_logvar(logvar, min_logvar)
    error = (mean - x) * torch.exp(-0.5 * log_var)
    return 0.5 * (error * error + log_var + math.log(2 * math.pi)).sum(-1)


def floor_logvar(logvar: Tensor, floor: float | None) -> Tensor:
    """log(e^logvar + e^floor), a smooth floor of a log variance: the two variances are added.

    It is above logvar and above the floor, by log 2 where they are equal and by e^-9 = 1e-4 where
    they are 9 apart. Its derivative is sigmoid(logvar - floor): 1/2 at the floor, and below it
    small but not 0 like that of a clamp, so that a log variance can return.
    Shapes: any. A floor of None changes nothing.
    Source: Chua et al. (2018), arXiv 1805.12114, who write floor + softplus(logvar - floor).
    """
    if floor is None:
        return logvar
    return torch.logaddexp(logvar, logvar.new_full((), floor))


def squared_error(mean: Tensor, x: Tensor) -> Tensor:
    """sum_d (mean_d - x_d)^2. Shapes: as in `gaussian_nll`. Units: those of x squared, not nats."""
    error = mean - x
    return (error * error).sum(-1)


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) = 1/2 sum mu^2 + exp(logvar) - 1 - logvar.

    expm1 keeps the digits that exp(logvar) - 1 loses where the posterior is near the prior.

    Derivation of the closed form. At z = mu + std eps the difference log q(z|x) - log p(z) is
    1/2 sum z^2 - eps^2 - logvar, as in `gaussian_kl_sampled`. With E[eps] = 0 and E[eps^2] = 1 its
    mean over eps is the sum above, since

        E[z^2] = mu^2 + 2 mu std E[eps] + std^2 E[eps^2] = mu^2 + exp(logvar)

    Shapes: (..., Z) -> (...).
    Source: Kingma & Welling (2013), appendix B, which has -KL.
    """
    excess = torch.expm1(logvar)  # var - 1
    return 0.5 * (mu * mu + excess - logvar).sum(-1)


def gaussian_kl_sigma(mu: Tensor, sigma: Tensor) -> Tensor:
    """`gaussian_kl` of sigma: 1/2 sum mu^2 + sigma^2 - log(sigma^2 + c) - 1, c = 1e-8.

    c keeps the logarithm finite at sigma = 0; much teaching code has this form.
    Shapes: (..., Z) -> (...).
    """
    var = sigma * sigma
    return 0.5 * (mu * mu + var - torch.log(var + CLAMP) - 1).sum(-1)


def gaussian_kl_sampled(logvar: Tensor, z: Tensor, eps: Tensor) -> Tensor:
    """log q(z|x) - log p(z) at z = mu + std eps, = 1/2 sum z^2 - eps^2 - logvar.

    The quadratic form of q is eps^2 for every mu and std, and log(2 pi) / 2 cancels. Its mean over
    eps is `gaussian_kl`.
    Shapes: logvar (N, Z), z and eps (N, L, Z) -> (N, L).
    Source: Kingma & Welling (2013), equation 6, their estimator A.
    """
    return 0.5 * (z * z - eps * eps - logvar[:, None]).sum(-1)


class Bernoulli(nn.Module):
    """p(x|z) = prod_d Bernoulli(x_d; sigmoid(logits_d)).

    All likelihoods have these methods.
    Shapes: logits (N, L, D) and x (N, D) -> nll (N, L).
    """

    support = (0.0, 1.0)

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        """-log p(x|z) of each example and draw, nats."""
        return bernoulli_nll(logits, x[:, None])

    def mean(self, logits: Tensor) -> Tensor:
        """E[x|z].   logits (..., D) -> (..., D)"""
        return torch.sigmoid(logits)

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        """A draw from p(x|z).   logits (..., D) -> (..., D)"""
        return random.bernoulli(key, self.mean(logits))


class ClampedBernoulli(Bernoulli):
    """Bernoulli with the nll of `bernoulli_clamped_nll`."""

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return bernoulli_clamped_nll(logits, x[:, None])


class Gaussian(nn.Module):
    """p(x|z) = N(x; logits, std^2 I) with a fixed std: the decoder's outputs are the mean."""

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


class LearnedGaussian(nn.Module):
    """p(x|z) = N(x; mean, sigma^2) with a sigma of each pixel, as in `gaussian_learned_nll`.

    The decoder's first D outputs are the mean, its last D the log variance without its floor.
    """

    support = (float("-inf"), float("inf"))

    def __init__(self, min_logvar: float | None) -> None:
        super().__init__()
        self.min_logvar = min_logvar

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        mean, logvar = logits.chunk(2, -1)
        return gaussian_learned_nll(mean, logvar, x[:, None], self.min_logvar)

    def mean(self, logits: Tensor) -> Tensor:
        return logits.chunk(2, -1)[0]

    def sample(self, logits: Tensor, key: Key) -> Tensor:
        mean, logvar = logits.chunk(2, -1)
        std = torch.exp(0.5 * floor_logvar(logvar, self.min_logvar))
        shape = tuple(mean.shape)
        return mean + std * random.normal(key, shape, dtype=logits.dtype, device=logits.device)
