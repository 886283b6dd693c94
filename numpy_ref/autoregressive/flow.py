"""Autoregressive flow, by hand.   Right panel: torch_impl/autoregressive/flow.py

Shapes: D dimensions; a sample is (..., D).
Sources: Kingma et al., "Improving variational inference with inverse autoregressive flow" (2016),
arXiv 1606.04934; Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731, section
3.2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.flow import AutoregressiveFlowConfig, FlowOutput
from model_specs.autoregressive.map_flow import MapFlowConfig
from model_specs.common.key import Key
from numpy_ref.autoregressive.made import MADE
from numpy_ref.nn import checks
from numpy_ref.nn.init import fan_in_uniform
from numpy_ref.nn.module import Array, Module, Sequential, Vjp


def affine(z: Array, mu: Array, log_sigma: Array) -> tuple[FlowOutput, Vjp]:
    """eps = (z - mu) / sigma, and log |det d eps / dz| = -sum_i log sigma_i.

    The vjp gives (dz, dmu, dlog_sigma): with d eps / dz = 1 / sigma and d eps / dlog_sigma = -eps,

        dz = deps / sigma,   dmu = -dz,   dlog_sigma = -deps eps - dlogdet

    Shapes: z, mu, log_sigma, eps (..., D), logdet (...). Units: nats, summed over dimensions.

    >>> z, mu, log_sigma = np.array([3.0, 1.0]), np.array([1.0, 1.0]), np.log([4.0, 1.0])
    >>> (eps, logdet), vjp = affine(z, mu, log_sigma)
    >>> eps.round(12), float(np.exp(logdet).round(12))
    (array([0.5, 0. ]), 0.25)
    >>> dz, dmu, dlog_sigma = vjp(np.array([1.0, 1.0]), np.array(1.0))
    >>> dz.round(12), dlog_sigma.round(12)
    (array([0.25, 1.  ]), array([-1.5, -1. ]))
    """
    precision = np.exp(-log_sigma)
    eps = (z - mu) * precision
    logdet = -log_sigma.sum(-1)

    def vjp(deps: Array, dlogdet: Array) -> tuple[Array, Array, Array]:
        dlog_sigma = -deps * eps - dlogdet[..., None]
        dz = deps * precision
        return dz, -dz, dlog_sigma

    return FlowOutput(eps, logdet), vjp


class AutoregressiveStep(Module):
    """Base class: eps_i is a function of z_i and of the MADE's outputs for i, which read z_<i.

    Derivation of the log-determinant. For every j after i in `order`, d eps_i / dz_j = 0. With rows
    and columns in this order the Jacobian is triangular: the product of its diagonal is its
    determinant. Neither mu_i nor sigma_i reads z_i, so that this diagonal is 1 / sigma_i:

        log |det d eps / dz| = sum_i log |d eps_i / dz_i| = -sum_i log sigma_i
    """

    outputs: int
    """Outputs of the MADE for each dimension."""
    network: Any = MADE
    """Class of the masked network."""

    def __init__(
        self,
        order: Any,
        hidden_dim: int,
        hidden_layers: int,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.made = self.network(order, hidden_dim, hidden_layers, self.outputs, dtype)


class MeanOnlyStep(AutoregressiveStep):
    """eps_i = z_i - mu_i(z_<i);   log |det d eps / dz| = 0, for the Jacobian's diagonal is 1.

    Shapes: z, eps (..., D), logdet (...).   Source: Chen et al. 2016.
    """

    outputs = 1

    def forward(self, z: Array) -> tuple[FlowOutput, Vjp]:
        mu, mu_vjp = self.made(z)
        logdet = np.zeros_like(z[..., 0])
        return FlowOutput(z - mu, logdet), lambda deps, dlogdet: deps + mu_vjp(-deps)

    def inverse(self, eps: Array) -> Array:
        """z_i = eps_i + mu_i(z_<i); value only."""
        return self.made.invert(eps, lambda eps_i, mu_i: eps_i + mu_i)

    def log_sigma(self, z: Array) -> Array:
        """log sigma of each dimension: 0; value only.   (..., D) -> (..., D)"""
        return np.zeros_like(z)


class AffineStep(AutoregressiveStep):
    """eps_i = (z_i - mu_i(z_<i)) / sigma_i(z_<i);   log |det d eps / dz| = -sum_i log sigma_i.

    The MADE gives log sigma, without bounds: with large weights a sample may overflow.
    Shapes: z, eps (..., D), logdet (...). Units: nats, summed over dimensions.
    Source: Kingma et al. 2016; there the MADE gives sigma, or the logit of a gate.
    """

    outputs = 2

    def forward(self, z: Array) -> tuple[FlowOutput, Vjp]:
        y, y_vjp = self.made(z)
        mu, log_sigma = np.split(y, 2, axis=-1)
        output, affine_vjp = affine(z, mu, log_sigma)

        def vjp(deps: Array, dlogdet: Array) -> Array:
            dz, dmu, dlog_sigma = affine_vjp(deps, dlogdet)
            return dz + y_vjp(np.concatenate((dmu, dlog_sigma), axis=-1))

        return output, vjp

    def inverse(self, eps: Array) -> Array:
        """z_i = eps_i sigma_i(z_<i) + mu_i(z_<i); value only."""
        return self.made.invert(
            eps, lambda eps_i, mu_i, log_sigma_i: eps_i * np.exp(log_sigma_i) + mu_i
        )

    def log_sigma(self, z: Array) -> Array:
        """log sigma of each dimension; value only.   (..., D) -> (..., D)"""
        return np.split(self.made(z)[0], 2, axis=-1)[1]


class AutoregressiveFlow(Module):
    """eps = f_S(... f_1(z)): autoregressive steps, each in the reverse order of the one before it.

        log |det d eps / dz| = sum_k log |det d f_k|

    `forward` maps z to eps, all dimensions at once; `inverse` maps eps to z, one dimension after
    the other. The flow serves either end of a VAE:

        AF prior         z ~ q(z|x);   log p(z) = log N(eps; 0, I) + logdet
        IAF posterior    z ~ q(z|x);   log q(eps|x) = log q(z|x) - logdet,   p(eps) = N(0, I)

    If the decoder of the second is p(x|inverse(eps)), both give the same bound.

    Shapes: z, eps (..., D), logdet (...). Units: nats, summed over dimensions.
    Source: Chen et al. 2016, section 3.2.
    """

    mean_only_step: type[AutoregressiveStep] = MeanOnlyStep
    affine_step: type[AutoregressiveStep] = AffineStep

    def __init__(
        self,
        config: AutoregressiveFlowConfig | MapFlowConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.config = config
        step = self.mean_only_step if config.mean_only else self.affine_step
        H, L = config.hidden_dim, config.hidden_layers
        self.steps = Sequential(*(step(order, H, L, dtype) for order in config.orders))
        fan_in_uniform(self, key)

    @property
    def dtype(self) -> np.dtype:
        return next(self.parameters()).data.dtype

    def forward(self, z: Array) -> tuple[FlowOutput, Vjp]:
        """eps and log |det d eps / dz|.   Raises: ValueError for a z of wrong shape or dtype."""
        checks.check_vectors("z", z, self.config.dim, self.dtype)
        logdet, step_vjps = np.zeros_like(z[..., 0]), []
        for step in self.steps:
            (z, step_logdet), step_vjp = step(z)
            logdet = logdet + step_logdet
            step_vjps.append(step_vjp)

        def vjp(deps: Array, dlogdet: Array) -> Array:
            for step_vjp in reversed(step_vjps):
                deps = step_vjp(deps, dlogdet)
            return deps

        return FlowOutput(z, logdet), vjp

    def log_prob(self, z: Array) -> tuple[Array, Vjp]:
        """log p(z) = log N(eps; 0, I) + log |det d eps / dz|.   z (..., D) -> (...)"""
        (eps, logdet), vjp = self(z)
        log_normal = -0.5 * ((eps * eps).sum(-1) + self.config.dim * math.log(2 * math.pi))
        return log_normal + logdet, lambda dlog_p: vjp(-dlog_p[..., None] * eps, dlog_p)

    def inverse(self, eps: Array) -> Array:
        """z with forward(z) = eps; value only.   (..., D) -> (..., D)

        If eps ~ N(0, I), z is a sample of p(z).
        Raises: ValueError for an eps of wrong shape or dtype.
        """
        checks.check_vectors("eps", eps, self.config.dim, self.dtype)
        for step in reversed(list(self.steps)):
            eps = step.inverse(eps)
        return eps

    def log_slopes(self, z: Array) -> tuple[Array, Array]:
        """eps, and sum_k log |d eps_i / dz_i| of each dimension i, over steps k; values only.

        Over dimensions, the second sums to logdet.   (..., D) -> (..., D) each
        """
        slopes = np.zeros_like(z)
        for step in self.steps:
            slopes = slopes - step.log_sigma(z)
            z = step(z)[0].eps
        return z, slopes
