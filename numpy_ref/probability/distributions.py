"""Log-likelihoods and KL divergences, and the likelihoods p(x|z) of a decoder.

The functions return `(y, vjp)`: one number per example, summed over the last axis. Targets and
noise, the last arguments, are constants and have no gradient.

Shapes: N examples, L draws from q(z|x), D pixels, Z latents; `...` stands for any number of axes.
The methods of a likelihood take logits (N, L, D), or (N, L, 2 D) for LearnedGaussian, and x (N, D).
Units: nats.
Source: the definitions, unless a function names a paper.
Right panel: torch_impl/probability/distributions.py
"""

from __future__ import annotations

import math

import numpy as np

from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.nn.functional import sigmoid
from numpy_ref.nn.module import Array, Module, Vjp

CLAMP = 1e-8


def bernoulli_nll(logits: Array, x: Array) -> tuple[Array, Vjp]:
    """-log p(x | logits) = sum_d softplus(logits_d) - x_d logits_d.

    For a grey x this is the cross-entropy, which is not a density.
    Shapes: logits (..., D), x broadcast to it, in [0, 1] -> (...).

    >>> nll, vjp = bernoulli_nll(np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]]))
    >>> np.exp(-nll), vjp(np.ones(1))
    (array([0.25]), array([[-0.5,  0.5]]))
    """
    e = np.exp(-np.abs(logits))  # in softplus and in sigmoid
    # softplus is max(logits, 0) + log1p(e); added last, log1p keeps its digits at x = 0 and 1
    nll = (np.maximum(logits, 0) - x * logits + np.log1p(e)).sum(-1)

    def vjp(dnll: Array) -> Array:
        sigmoid_logits = np.maximum(e, logits >= 0) / (1 + e)  # (1 or e) / (1 + e)
        return dnll[..., None] * (sigmoid_logits - x)

    return nll, vjp


def bernoulli_clamped_nll(logits: Array, x: Array) -> tuple[Array, Vjp]:
    """-sum_d x_d log(p_d + c) + (1 - x_d) log(1 - p_d + c), p = sigmoid(logits), c = 1e-8.

    Much teaching code with the sigma posterior has this form; it is biased where p is within c of 0
    or 1.
    Shapes: as in `bernoulli_nll`.

    >>> nll, _ = bernoulli_clamped_nll(np.array([[-100.0]]), np.array([[1.0]]))
    >>> nll  # at most -log c, where bernoulli_nll is 100
    array([18.42068074])
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

    Shapes: mean (..., D), x broadcast to it -> (...).

    >>> nll, vjp = gaussian_nll(np.array([[0.0]]), np.array([[3.0]]), std=2.0)
    >>> nll, vjp(np.ones(1))
    (array([2.73708571]), array([[-0.75]]))
    """
    error = (mean - x) / std
    constant = mean.shape[-1] * (math.log(std) + 0.5 * math.log(2 * math.pi))
    nll = 0.5 * (error * error).sum(-1) + constant
    return nll, lambda dnll: dnll[..., None] * error / std


def gaussian_learned_nll(
    mean: Array, logvar: Array, x: Array, min_logvar: float | None
) -> tuple[Array, Vjp]:
    """-log N(x; mean, sigma^2) = sum_d (x_d - mean_d)^2 / (2 sigma_d^2) + log(2 pi sigma_d^2) / 2.

        log sigma^2 = floor_logvar(logvar, min_logvar)

    Where a pixel has the same value in all images, sigma has no best value above 0 and the density
    no bound; the floor bounds it. Without one, sigma is e^(logvar / 2), whose inverse overflows
    below a logvar of -1419 (float32: -177).
    Shapes: mean and logvar (..., D), x broadcast to them -> (...).
    Source: Kingma & Welling (2013), appendix C.2, where mean and log sigma^2 are linear in the last
    hidden layer; Mattei & Frellsen (2018), arXiv 1802.04826, for the missing bound. Where we
    differ: the paper has no floor.

    >>> nll, vjp = gaussian_learned_nll(*np.array([[[0.0]], [[np.log(4)]], [[3.0]]]), None)
    >>> nll, vjp(np.ones(1))  # gaussian_nll of std 2
    (array([2.73708571]), (array([[-0.75]]), array([[-0.625]])))
    """
    log_var, floor_vjp = floor_logvar(logvar, min_logvar)
    precision = np.exp(-0.5 * log_var)  # 1 / sigma
    error = (mean - x) * precision
    nll = 0.5 * (error * error + log_var + math.log(2 * math.pi)).sum(-1)

    def vjp(dnll: Array) -> tuple[Array, Array]:
        dlog_var = dnll[..., None] * 0.5 * (1 - error * error)
        return dnll[..., None] * error * precision, floor_vjp(dlog_var)

    return nll, vjp


def floor_logvar(logvar: Array, floor: float | None) -> tuple[Array, Vjp]:
    """log(e^logvar + e^floor), a smooth floor of a log variance: the two variances are added.

    It is above logvar and above the floor, by log 2 where they are equal and by e^-9 = 1e-4 where
    they are 9 apart. Its derivative is sigmoid(logvar - floor): 1/2 at the floor, and below it
    small but not 0 like that of a clamp, so that a log variance can return.
    Shapes: any. A floor of None changes nothing.
    Source: Chua et al. (2018), arXiv 1805.12114, who write floor + softplus(logvar - floor).

    >>> y, vjp = floor_logvar(np.array([-9.0, 0.0]), -9.0)
    >>> y.round(4), vjp(np.ones(2)).round(4)
    (array([-8.3069e+00,  1.0000e-04]), array([0.5   , 0.9999]))
    """
    if floor is None:
        return logvar, lambda dy: dy
    return np.logaddexp(logvar, floor), lambda dy: dy * sigmoid(logvar - floor)


def squared_error(mean: Array, x: Array) -> tuple[Array, Vjp]:
    """sum_d (mean_d - x_d)^2. Shapes: as in `gaussian_nll`. Units: those of x squared, not nats.

    >>> error, vjp = squared_error(np.array([[0.0, 1.0]]), np.array([[3.0, 0.0]]))
    >>> error, vjp(np.ones(1))
    (array([10.]), array([[-6.,  2.]]))
    """
    error = mean - x
    return (error * error).sum(-1), lambda dsum: 2 * dsum[..., None] * error


def gaussian_kl(mu: Array, logvar: Array) -> tuple[Array, Vjp]:
    """KL(N(mu, exp(logvar)) || N(0, I)) = 1/2 sum mu^2 + exp(logvar) - 1 - logvar.

    expm1 keeps the digits that exp(logvar) - 1 loses where the posterior is near the prior.

    Derivation of the closed form. At z = mu + std eps the difference log q(z|x) - log p(z) is
    1/2 sum z^2 - eps^2 - logvar, as in `gaussian_kl_sampled`. With E[eps] = 0 and E[eps^2] = 1 its
    mean over eps is the sum above, since

        E[z^2] = mu^2 + 2 mu std E[eps] + std^2 E[eps^2] = mu^2 + exp(logvar)

    Shapes: (..., Z) -> (...).
    Source: Kingma & Welling (2013), appendix B, which has -KL.

    >>> kl, vjp = gaussian_kl(np.array([[2.0]]), np.array([[0.0]]))
    >>> kl, vjp(np.ones(1))
    (array([2.]), (array([[2.]]), array([[0.]])))
    """
    excess = np.expm1(logvar)  # var - 1
    kl = 0.5 * (mu * mu + excess - logvar).sum(-1)
    return kl, lambda dkl: (dkl[..., None] * mu, dkl[..., None] * 0.5 * excess)


def gaussian_kl_sigma(mu: Array, sigma: Array) -> tuple[Array, Vjp]:
    """`gaussian_kl` of sigma: 1/2 sum mu^2 + sigma^2 - log(sigma^2 + c) - 1, c = 1e-8.

    c keeps the logarithm finite at sigma = 0; much teaching code has this form.
    Shapes: (..., Z) -> (...).

    >>> kl, vjp = gaussian_kl_sigma(np.array([[2.0]]), np.array([[-1.0]]))
    >>> bool(abs(kl[0] - 2) < CLAMP)  # the sign of sigma does not matter
    True
    """
    var = sigma * sigma
    kl = 0.5 * (mu * mu + var - np.log(var + CLAMP) - 1).sum(-1)

    def vjp(dkl: Array) -> tuple[Array, Array]:
        return dkl[..., None] * mu, dkl[..., None] * sigma * (1 - 1 / (var + CLAMP))

    return kl, vjp


def gaussian_kl_sampled(logvar: Array, z: Array, eps: Array) -> tuple[Array, Vjp]:
    """log q(z|x) - log p(z) at z = mu + std eps, = 1/2 sum z^2 - eps^2 - logvar.

    The quadratic form of q is eps^2 for every mu and std, and log(2 pi) / 2 cancels. Its mean over
    eps is `gaussian_kl`.
    Shapes: logvar (N, Z), z and eps (N, L, Z) -> (N, L).
    Source: Kingma & Welling (2013), equation 6, their estimator A.

    >>> kl, _ = gaussian_kl_sampled(np.zeros((1, 1)), np.array([[[3.0]]]), np.array([[[1.0]]]))
    >>> kl  # at mu = 2, std = 1
    array([[4.]])
    """
    kl = 0.5 * (z * z - eps * eps - logvar[:, None]).sum(-1)

    def vjp(dkl: Array) -> tuple[Array, Array]:
        dlogvar = -0.5 * dkl.sum(1)[:, None]
        return np.broadcast_to(dlogvar, logvar.shape), dkl[..., None] * z

    return kl, vjp


class Bernoulli(Module):
    """p(x|z) = prod_d Bernoulli(x_d; sigmoid(logits_d)).

    All likelihoods have these methods.
    Shapes: logits (N, L, D) and x (N, D) -> nll (N, L).
    """

    support = (0.0, 1.0)

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        """-log p(x|z) of each example and draw, nats."""
        return bernoulli_nll(logits, x[:, None])

    def mean(self, logits: Array) -> Array:
        """E[x|z].   logits (..., D) -> (..., D)"""
        return sigmoid(logits)

    def sample(self, logits: Array, key: Key) -> Array:
        """A draw from p(x|z).   logits (..., D) -> (..., D)"""
        return random.bernoulli(key, self.mean(logits))


class ClampedBernoulli(Bernoulli):
    """Bernoulli with the nll of `bernoulli_clamped_nll`."""

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return bernoulli_clamped_nll(logits, x[:, None])


class Gaussian(Module):
    """p(x|z) = N(x; logits, std^2 I) with a fixed std: the decoder's outputs are the mean."""

    support = (float("-inf"), float("inf"))

    def __init__(self, std: float) -> None:
        self.std = std

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        return gaussian_nll(logits, x[:, None], self.std)

    def mean(self, logits: Array) -> Array:
        return logits

    def sample(self, logits: Array, key: Key) -> Array:
        return logits + self.std * random.normal(key, logits.shape, dtype=logits.dtype)


class LearnedGaussian(Module):
    """p(x|z) = N(x; mean, sigma^2) with a sigma of each pixel, as in `gaussian_learned_nll`.

    The decoder's first D outputs are the mean, its last D the log variance without its floor.
    """

    support = (float("-inf"), float("inf"))

    def __init__(self, min_logvar: float | None) -> None:
        self.min_logvar = min_logvar

    def nll(self, logits: Array, x: Array) -> tuple[Array, Vjp]:
        mean, logvar = np.split(logits, 2, -1)
        nll, nll_vjp = gaussian_learned_nll(mean, logvar, x[:, None], self.min_logvar)
        return nll, lambda dnll: np.concatenate(nll_vjp(dnll), -1)

    def mean(self, logits: Array) -> Array:
        return np.split(logits, 2, -1)[0]

    def sample(self, logits: Array, key: Key) -> Array:
        mean, logvar = np.split(logits, 2, -1)
        std = np.exp(0.5 * floor_logvar(logvar, self.min_logvar)[0])
        return mean + std * random.normal(key, mean.shape, dtype=logits.dtype)
