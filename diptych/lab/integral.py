"""Integrate log p(x) of a VAE with two latent dimensions on a grid, and adaptively as a check."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import integrate, special, stats

from model_specs.common.key import Key
from numpy_ref.mlp_vae import MLPVAE
from numpy_ref.probability.distributions import bernoulli_nll

KEY = Key(0).fold_in("lab").fold_in("bound")
TAIL = 25.0
"""Nats: the integral outside the grid is at most e^-25 p(x)."""


@dataclass(frozen=True)
class Exact:
    """Integrals over z for each image, in nats.   (N,) each"""

    log_p: np.ndarray
    kl: np.ndarray
    """KL(q(z|x) || p(z|x)), the gap of the ELBO"""
    error: np.ndarray
    """the change of log p when the grid has half as many points in each direction"""


def integrate_out(model: MLPVAE, x: np.ndarray, fineness: float) -> Exact:
    """Integrate p(x|z) p(z) over z with a product trapezoid rule.

    The integral outside the square [-W, W]^2 is at most P(|z_1| > W or |z_2| > W) <= exp(-W^2 / 2),
    because p(x|z) <= 1. W is chosen so that this is below e^-TAIL p(x), with p(x) >= exp(ELBO).
    Within the square the grid covers the box in which, on a coarse grid, p(x, z) of some image is
    above e^-45 of its maximum. The integrand vanishes at the edges of the box, so the rule needs no
    factor 1/2 there. The step is the smallest standard deviation of q divided by `fineness`.
    """
    log_w = model.log_weight(x, model.draw_noise(KEY.fold_in("width"), len(x), samples=64))
    width = math.sqrt(2 * (TAIL - log_w.mean(1).min()))
    coarse = np.linspace(-width, width, 1 + 2 * math.ceil(5 * width))
    rows = [_log_joint(model, x, _points(z1, coarse)) for z1 in coarse]
    heights = np.stack(rows, 1)  # (N, z_1, z_2)
    relevant = (heights > heights.max((1, 2), keepdims=True) - 45).any(0)
    (mu, logvar), _ = model.encode(x)
    std = np.exp(0.5 * logvar)
    step, margin = std.min() / fineness, coarse[1] - coarse[0]
    axes = []
    for other in (1, 0):
        (inside,) = np.nonzero(relevant.any(other))
        low, high = coarse[inside[0]] - margin, coarse[inside[-1]] + margin
        # an odd number of points, so that every second one makes a grid too
        axes.append(np.linspace(low, high, 1 + 2 * math.ceil((high - low) / step / 2)))
    log_cell = sum(math.log(axis[1] - axis[0]) for axis in axes)

    fine, halved, gap = np.empty((3, len(x), len(axes[0])))  # integrals over z_2 for each z_1
    for i, z1 in enumerate(axes[0]):
        z = _points(z1, axes[1])
        log_joint = _log_joint(model, x, z)
        log_q = stats.norm.logpdf(z, mu[:, None], std[:, None]).sum(-1)
        fine[:, i] = special.logsumexp(log_joint, axis=1)
        halved[:, i] = special.logsumexp(log_joint[:, ::2], axis=1)
        gap[:, i] = (np.exp(log_q) * (log_q - log_joint)).sum(1)
    log_p = special.logsumexp(fine, axis=1) + log_cell
    coarser = special.logsumexp(halved[:, ::2], axis=1) + log_cell + 2 * math.log(2)
    return Exact(log_p, gap.sum(1) * math.exp(log_cell) + log_p, np.abs(coarser - log_p))


def _points(z1: float, axis: np.ndarray) -> np.ndarray:
    """Return the points (z1, z2) with z2 along `axis`.   -> (M, 2)"""
    return np.stack(np.broadcast_arrays(z1, axis), -1)


def _log_joint(model: MLPVAE, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return log p(x, z) of every image at every point.   x (N, D), z (M, 2) -> (N, M)"""
    logits, _ = model.decode(z)
    nll_at_0, _ = bernoulli_nll(logits, np.zeros_like(logits))
    # log p(x|z) = x . logits - nll of the image of zeros
    return x @ logits.T - nll_at_0 + stats.norm.logpdf(z).sum(-1)


def integrate_adaptively(model: MLPVAE, x: np.ndarray) -> float:
    """Integrate log p(x) of one image with scipy's dblquad, an independent method.   x (1, D)"""
    (mu, _), _ = model.encode(x)

    def log_joint(z: np.ndarray) -> float:
        nll, _ = model.likelihood.nll(model.decode(z.reshape(1, 1, 2))[0], x)
        return -0.5 * (z @ z) - math.log(2 * math.pi) - nll.item()

    top = log_joint(mu[0])

    def joint(z2: float, z1: float) -> float:
        return math.exp(log_joint(np.array([z1, z2])) - top)

    # bounds of the region where the integrand is above e^-40 of its value at mu, along rays from mu
    angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    radii = np.linspace(0, 12, 240)
    rays = mu[0] + radii[:, None, None] * np.stack((np.cos(angles), np.sin(angles)), -1)
    nll, _ = model.likelihood.nll(model.decode(rays.reshape(1, -1, 2))[0], x)
    heights = stats.norm.logpdf(rays).sum(-1) - nll.reshape(rays.shape[:2])
    inside = rays[heights > top - 40]
    (a, c), (b, d) = inside.min(0) - 0.1, inside.max(0) + 0.1
    area, _ = integrate.dblquad(joint, a, b, c, d, epsabs=1e-7, epsrel=1e-7)
    return math.log(area) + top
