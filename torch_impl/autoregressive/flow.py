"""Autoregressive flow, vectorised.   Left panel: numpy_ref/autoregressive/flow.py

Shapes: D dimensions; a sample is (..., D).
Sources: Kingma et al., "Improving variational inference with inverse autoregressive flow" (2016),
arXiv 1606.04934; Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731, section
3.2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from model_specs.autoregressive.flow import AutoregressiveFlowConfig, FlowOutput
from model_specs.autoregressive.map_flow import MapFlowConfig
from model_specs.common.key import Key
from torch_impl.autoregressive.made import MADE
from torch_impl.nn import checks
from torch_impl.nn.init import fan_in_uniform
from torch_impl.nn.module import Module


def affine(z: Tensor, mu: Tensor, log_sigma: Tensor) -> FlowOutput:
    """eps = (z - mu) / sigma, and log |det d eps / dz| = -sum_i log sigma_i.

    Shapes: z, mu, log_sigma, eps (..., D), logdet (...). Units: nats, summed over dimensions.
    """
    return FlowOutput((z - mu) * torch.exp(-log_sigma), -log_sigma.sum(-1))


class AutoregressiveStep(nn.Module):
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
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.made = self.network(order, hidden_dim, hidden_layers, self.outputs, dtype, device)


class MeanOnlyStep(AutoregressiveStep):
    """eps_i = z_i - mu_i(z_<i);   log |det d eps / dz| = 0, for the Jacobian's diagonal is 1.

    Shapes: z, eps (..., D), logdet (...).   Source: Chen et al. 2016.
    """

    outputs = 1

    def forward(self, z: Tensor) -> FlowOutput:
        mu = self.made(z).to(z.dtype)  # under autocast densities still need every digit
        return FlowOutput(z - mu, 0 * z[..., 0])

    def inverse(self, eps: Tensor) -> Tensor:
        """z_i = eps_i + mu_i(z_<i); value only."""
        return self.made.invert(eps, lambda eps_i, mu_i: eps_i + mu_i)

    def log_sigma(self, z: Tensor) -> Tensor:
        """log sigma of each dimension: 0; value only.   (..., D) -> (..., D)"""
        return torch.zeros_like(z)


class AffineStep(AutoregressiveStep):
    """eps_i = (z_i - mu_i(z_<i)) / sigma_i(z_<i);   log |det d eps / dz| = -sum_i log sigma_i.

    The MADE gives log sigma, without bounds: with large weights a sample may overflow.
    Shapes: z, eps (..., D), logdet (...). Units: nats, summed over dimensions.
    Source: Kingma et al. 2016; there the MADE gives sigma, or the logit of a gate.
    """

    outputs = 2

    def forward(self, z: Tensor) -> FlowOutput:
        mu, log_sigma = self.made(z).to(z.dtype).chunk(2, dim=-1)
        return affine(z, mu, log_sigma)

    def inverse(self, eps: Tensor) -> Tensor:
        """z_i = eps_i sigma_i(z_<i) + mu_i(z_<i); value only."""
        return self.made.invert(
            eps, lambda eps_i, mu_i, log_sigma_i: eps_i * torch.exp(log_sigma_i) + mu_i
        )

    def log_sigma(self, z: Tensor) -> Tensor:
        """log sigma of each dimension; value only.   (..., D) -> (..., D)"""
        return self.made(z).to(z.dtype).chunk(2, dim=-1)[1]


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
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        step = self.mean_only_step if config.mean_only else self.affine_step
        H, L = config.hidden_dim, config.hidden_layers
        self.steps: Any = nn.ModuleList(step(order, H, L, dtype, device) for order in config.orders)
        fan_in_uniform(self, key)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, z: Tensor) -> FlowOutput:
        """eps and log |det d eps / dz|.   Raises: ValueError for a z of wrong shape or dtype."""
        checks.check_vectors("z", z, self.config.dim, self)
        logdet = torch.zeros_like(z[..., 0])
        for step in self.steps:
            z, step_logdet = step(z)
            logdet = logdet + step_logdet
        return FlowOutput(z, logdet)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) = log N(eps; 0, I) + log |det d eps / dz|.   z (..., D) -> (...)"""
        eps, logdet = self(z)
        log_normal = -0.5 * ((eps * eps).sum(-1) + self.config.dim * math.log(2 * math.pi))
        return log_normal + logdet

    @torch.no_grad()
    def inverse(self, eps: Tensor) -> Tensor:
        """z with forward(z) = eps; value only.   (..., D) -> (..., D)

        If eps ~ N(0, I), z is a sample of p(z).
        Raises: ValueError for an eps of wrong shape or dtype.
        """
        checks.check_vectors("eps", eps, self.config.dim, self)
        for step in reversed(self.steps):
            eps = step.inverse(eps)
        return eps

    @torch.no_grad()
    def log_slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """eps, and sum_k log |d eps_i / dz_i| of each dimension i, over steps k; values only.

        Over dimensions, the second sums to logdet.   (..., D) -> (..., D) each
        """
        slopes = torch.zeros_like(z)
        for step in self.steps:
            slopes = slopes - step.log_sigma(z)
            z = step(z).eps
        return z, slopes
