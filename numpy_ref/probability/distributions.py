"""Log-likelihoods and KL divergences. Nats, one number an example, summed over the last axis.

Every function returns `(y, vjp)`. Targets and noise are constants: they come last and get no
gradient.
"""

from __future__ import annotations

import math

import numpy as np

from numpy_ref.nn.functional import sigmoid
from numpy_ref.nn.module import Array, Vjp

CLAMP = 1e-8


def bernoulli_nll(logits: Array, x: Array) -> tuple[Array, Vjp]:
    """-log p(x | logits) = sum_d softplus(logits_d) - x_d logits_d.

    Shapes: logits (..., D), x broadcast to it -> (...).
    x in [0, 1]; a grey x gives the cross-entropy, which is a bound and not a density.
    """
    e = np.exp(-np.abs(logits))  # softplus and sigmoid share it
    # softplus is max(logits, 0) + log1p(e); in this order log1p keeps its digits at x = 0 and 1
    nll = (np.maximum(logits, 0) - x * logits + np.log1p(e)).sum(-1)

    def vjp(dnll: Array) -> Array:
        sigmoid_logits = np.maximum(e, logits >= 0) / (1 + e)  # (1 or e) / (1 + e)
        return dnll[..., None] * (sigmoid_logits - x)

    return nll, vjp


def bernoulli_clamped_nll(logits: Array, x: Array) -> tuple[Array, Vjp]:
    """-sum_d x_d log(p_d + c) + (1 - x_d) log(1 - p_d + c), p = sigmoid(logits), c = 1e-8.

    The form that circulates with the sigma posterior; biased where p is within c of 0 or 1.
    Shapes as in `bernoulli_nll`.
    """
    p = sigmoid(logits)
    q = sigmoid(-logits)  # 1 - p, without the cancellation
    nll = -(x * np.log(p + CLAMP) + (1 - x) * np.log(q + CLAMP)).sum(-1)

    def vjp(dnll: Array) -> Array:
        dp = (1 - x) / (q + CLAMP) - x / (p + CLAMP)
        return dnll[..., None] * dp * p * q

    return nll, vjp


def gaussian_nll(mean: Array, x: Array, std: float) -> tuple[Array, Vjp]:
    """-log N(x; mean, std^2) = |x - mean|^2 / (2 std^2) + D (log std + log(2 pi) / 2).

    Shapes as in `bernoulli_nll`, with the mean in the place of the logits.
    """
    error = (mean - x) / std
    constant = mean.shape[-1] * (math.log(std) + 0.5 * math.log(2 * math.pi))
    nll = 0.5 * (error * error).sum(-1) + constant
    return nll, lambda dnll: dnll[..., None] * error / std


def squared_error(mean: Array, x: Array) -> tuple[Array, Vjp]:
    """sum_d (mean_d - x_d)^2. Shapes as in `gaussian_nll`; not nats."""
    error = mean - x
    return (error * error).sum(-1), lambda dsum: 2 * dsum[..., None] * error


def gaussian_kl(mu: Array, logvar: Array) -> tuple[Array, Vjp]:
    """KL(N(mu, exp(logvar)) || N(0, I)) = 1/2 sum mu^2 + exp(logvar) - 1 - logvar.

    expm1 keeps the digits that exp(logvar) - 1 would cancel where the posterior is the prior.
    Shapes: (..., Z) -> (...). Source: Kingma & Welling 2013, appendix B, with the sign turned.
    """
    excess = np.expm1(logvar)  # var - 1
    kl = 0.5 * (mu * mu + excess - logvar).sum(-1)
    return kl, lambda dkl: (dkl[..., None] * mu, dkl[..., None] * 0.5 * excess)


def gaussian_kl_sigma(mu: Array, sigma: Array) -> tuple[Array, Vjp]:
    """The same with sigma given, as it circulates: -1/2 sum 1 + log(sigma^2 + c) - mu^2 - sigma^2.

    c = 1e-8 keeps the logarithm finite at sigma = 0. Shapes as in `gaussian_kl`.
    """
    var = sigma * sigma
    kl = 0.5 * (mu * mu + var - np.log(var + CLAMP) - 1).sum(-1)

    def vjp(dkl: Array) -> tuple[Array, Array]:
        return dkl[..., None] * mu, dkl[..., None] * sigma * (1 - 1 / (var + CLAMP))

    return kl, vjp


def gaussian_kl_sampled(logvar: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
    """log q(z|x) - log p(z) at z = mu + std eps, = 1/2 sum z^2 - eps^2 - logvar.

    The quadratic form of q is eps^2 whatever mu and std are, and log(2 pi) / 2 stands in both
    densities, so neither is computed. Its mean over eps is `gaussian_kl`.
    Shapes: logvar (N, Z), z and eps (N, L, Z) -> (N, L).
    Source: estimator A, Kingma & Welling 2013, eq. 6.
    """
    kl = 0.5 * (z * z - eps * eps - logvar[:, None]).sum(-1)

    def vjp(dkl: Array) -> tuple[Array, Array]:
        dlogvar = -0.5 * dkl.sum(1)[:, None]
        return np.broadcast_to(dlogvar, logvar.shape), dkl[..., None] * z

    return kl, vjp
