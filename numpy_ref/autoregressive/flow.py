"""Autoregressive flow, by hand.   Right panel: torch_impl/autoregressive/flow.py

Sources: Germain, Gregor, Murray & Larochelle, "MADE: masked autoencoder for distribution
estimation" (2015), arXiv 1502.03509; Kingma et al., "Improving variational inference with inverse
autoregressive flow" (2016), arXiv 1606.04934; Chen et al., "Variational lossy autoencoder" (2016),
arXiv 1611.02731, section 3.2.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.flow import AutoregressiveFlowConfig, FlowOutput, made_degrees
from model_specs.common.key import Key
from numpy_ref.nn import checks
from numpy_ref.nn.functional import linear
from numpy_ref.nn.init import fan_in_uniform
from numpy_ref.nn.layers import ReLU
from numpy_ref.nn.module import Array, Module, Parameter, Sequential, Vjp, as_dtype


class MaskedLinear(Module):
    """y = x (W * mask)ᵀ + b: each output reads the inputs whose degree is not above its own.

        mask[o, i] = degrees[o] >= reads[i]

                        reads 1 2 3
        degrees 1             # . .
                2             # # .         # read, . masked
                2             # # .

    Shapes: x (..., I), weight and mask (O, I), bias (O) -> y (..., O).
    The mask is part of the expression, so W keeps its masked values, and dW is 0 there.
    Its weights are not yet set: a model's init draws them.
    Source: Germain et al. 2015, section 4; degrees as in model_specs.autoregressive.flow.
    """

    def __init__(
        self, reads: Sequence[int], degrees: Sequence[int], dtype: DTypeLike = np.float64
    ) -> None:
        self.weight = Parameter(np.empty((len(degrees), len(reads)), as_dtype(dtype)))
        self.bias = Parameter(np.empty(len(degrees), as_dtype(dtype)))
        self._mask = np.array(degrees)[:, None] >= np.array(reads)

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        y, y_vjp = linear(x, self.weight.data * self._mask, self.bias.data)

        def vjp(dy: Array) -> Array:
            dx, dW, db = y_vjp(dy)
            self.weight.grad += dW * self._mask
            self.bias.grad += db
            return dx

        return y, vjp


class MADE(Sequential):
    """Masked linear layers and ReLUs in turn; output i depends on what comes before i in `order`.

        y_i = (W_L relu(... relu(W_1 z_<i + b_1)) + b_L)_i

    Shapes: z (..., D) -> y (..., outputs D), all first outputs, then all second ones.
    Source: Germain et al. 2015.   Raises: ValueError as model_specs' made_degrees.
    """

    def __init__(
        self,
        order: tuple[int, ...],
        hidden_dim: int,
        hidden_layers: int,
        outputs: int = 1,
        dtype: DTypeLike = np.float64,
    ) -> None:
        degrees = made_degrees(order, hidden_dim, hidden_layers, outputs)
        *hidden, last = [MaskedLinear(*pair, dtype=dtype) for pair in pairwise(degrees)]
        super().__init__(*(part for layer in hidden for part in (layer, ReLU())), last)
        self._order, self._hidden_degrees = order, degrees[1]

    def invert(self, eps: Array, dimension: Callable[..., Array]) -> Array:
        """The z for which z_i = dimension(eps_i, *y_i(z_<i)), i by i; value only.

        A hidden unit is computed once: as soon as the m dimensions that its degree m lets it see
        are known. So all D together cost what one forward pass costs, and slices do what the mask
        does there: in order, what degree m may read are the first m inputs, or the first so many
        units.

        Shapes: eps (..., D) -> z (..., D); in here units come first, (D, N) and (H, N).
        """
        order = np.array(self._order)
        first, *middle, last = [layer for layer in self if isinstance(layer, MaskedLinear)]
        weights = [first.weight.data[:, order], *(layer.weight.data for layer in middle)]
        biases = [layer.bias.data[:, None] for layer in (first, *middle)]
        rows = eps.reshape(-1, len(order)).T[order]
        z = np.empty_like(rows)
        hidden = [np.empty((len(bias), z.shape[1]), z.dtype) for bias in biases]

        for m, d in enumerate(self._order):
            known, units = z[:m], self._units_of_degree(m)
            for h, weight, bias in zip(hidden, weights, biases, strict=True):
                h[units] = np.maximum(weight[units, : len(known)] @ known + bias[units], 0)
                known = h[: units.stop]
            its = slice(d, None, len(order))  # the outputs of dimension d
            y = last.weight.data[its, : len(known)] @ known + last.bias.data[its, None]
            z[m] = dimension(rows[m], *y)

        return z[np.argsort(order)].T.reshape(eps.shape)

    def _units_of_degree(self, m: int) -> slice:
        degrees = self._hidden_degrees
        return slice(bisect_left(degrees, m), bisect_right(degrees, m))


class MeanOnlyStep(Module):
    """eps_i = z_i - mu_i(z_<i);   log |det d eps / dz| = 0, for the Jacobian's diagonal is 1s.

    Shapes: z, eps (..., D), logdet (...).   Source: Chen et al. 2016.
    """

    def __init__(
        self,
        order: tuple[int, ...],
        hidden_dim: int,
        hidden_layers: int,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.made = MADE(order, hidden_dim, hidden_layers, 1, dtype)

    def forward(self, z: Array) -> tuple[FlowOutput, Vjp]:
        mu, mu_vjp = self.made(z)
        logdet = np.zeros_like(z[..., 0])
        return FlowOutput(z - mu, logdet), lambda deps, dlogdet: deps + mu_vjp(-deps)

    def inverse(self, eps: Array) -> Array:
        """z_i = eps_i + mu_i(z_<i); value only."""
        return self.made.invert(eps, lambda eps_i, mu_i: eps_i + mu_i)


class AffineStep(Module):
    """eps_i = (z_i - mu_i(z_<i)) / sigma_i(z_<i);   log |det d eps / dz| = -sum_i log sigma_i.

    Shapes: z, eps (..., D), logdet (...). Units: nats, summed over dimensions.
    log sigma is what MADE gives, without bounds: with large weights a sample may overflow.
    Source: Kingma et al. 2016; there MADE gives sigma, or the logit of a gate.
    """

    def __init__(
        self,
        order: tuple[int, ...],
        hidden_dim: int,
        hidden_layers: int,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.made = MADE(order, hidden_dim, hidden_layers, 2, dtype)

    def forward(self, z: Array) -> tuple[FlowOutput, Vjp]:
        y, y_vjp = self.made(z)
        mu, log_sigma = np.split(y, 2, axis=-1)
        precision = np.exp(-log_sigma)
        eps = (z - mu) * precision
        logdet = -log_sigma.sum(-1)

        def vjp(deps: Array, dlogdet: Array) -> Array:
            dlog_sigma = -deps * eps - dlogdet[..., None]
            dmu = -deps * precision
            return y_vjp(np.concatenate((dmu, dlog_sigma), axis=-1)) - dmu

        return FlowOutput(eps, logdet), vjp

    def inverse(self, eps: Array) -> Array:
        """z_i = eps_i sigma_i(z_<i) + mu_i(z_<i); value only."""
        return self.made.invert(
            eps, lambda eps_i, mu_i, log_sigma_i: eps_i * np.exp(log_sigma_i) + mu_i
        )


class AutoregressiveFlow(Module):
    """eps = f_S(... f_1(z)): autoregressive steps, each in the turned order of the one before it.

        log |det d eps / dz| = sum_k log |det d f_k|

    From z to eps, `forward`, is one pass over all dimensions at once; back, `inverse`, is one
    dimension after the other. The same object serves either end of a VAE:

        AF prior         z ~ q(z|x);   log p(z) = log N(eps; 0, I) + logdet
        IAF posterior    z ~ q(z|x);   log q(eps|x) = log q(z|x) - logdet,   p(eps) = N(0, I)

    With the decoder's p(x|z) in the second reading p(x|inverse(eps)), both give the same bound.

    Shapes: z, eps (..., D), logdet (...). Units: nats, summed over dimensions.
    Source: Chen et al. 2016, section 3.2.
    """

    def __init__(
        self,
        config: AutoregressiveFlowConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.config = config
        step = MeanOnlyStep if config.mean_only else AffineStep
        H, L = config.hidden_dim, config.hidden_layers
        self.steps = Sequential(*(step(order, H, L, dtype) for order in config.orders))
        fan_in_uniform(self, key)

    @property
    def dtype(self) -> np.dtype:
        return next(self.parameters()).data.dtype

    def forward(self, z: Array) -> tuple[FlowOutput, Vjp]:
        """eps and log |det d eps / dz|.   Raises: ValueError for a z of wrong shape or dtype."""
        checks.check_vectors("z", z, self.config.dim, self.dtype)
        logdet, vjps = np.zeros_like(z[..., 0]), []
        for step in self.steps:
            (z, step_logdet), vjp = step(z)
            logdet = logdet + step_logdet
            vjps.append(vjp)

        def backward(deps: Array, dlogdet: Array) -> Array:
            for vjp in reversed(vjps):
                deps = vjp(deps, dlogdet)
            return deps

        return FlowOutput(z, logdet), backward

    def log_prob(self, z: Array) -> tuple[Array, Vjp]:
        """log p(z) = log N(eps; 0, I) + log |det d eps / dz|.   z (..., D) -> (...)"""
        (eps, logdet), vjp = self(z)
        log_normal = -0.5 * ((eps * eps).sum(-1) + self.config.dim * math.log(2 * math.pi))
        return log_normal + logdet, lambda dlog_p: vjp(-dlog_p[..., None] * eps, dlog_p)

    def inverse(self, eps: Array) -> Array:
        """The z that `forward` takes to eps; value only.   (..., D) -> (..., D)

        With eps ~ N(0, I) it is a sample of p(z).
        Raises: ValueError for an eps of wrong shape or dtype.
        """
        checks.check_vectors("eps", eps, self.config.dim, self.dtype)
        for step in reversed(list(self.steps)):
            eps = step.inverse(eps)
        return eps
