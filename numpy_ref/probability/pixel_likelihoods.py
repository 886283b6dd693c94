"""p(x_i | pixels before i, maps), from the P parameters that the pixel decoder gives each pixel.

Both classes have the same methods, so that the model and the samplers do not depend on the choice.

Shapes: x (N, C, H, W), params (N, P, H, W): N images of C channels and H x W pixels, P parameters
and U uniform numbers a pixel; `...` stands for H and W, or for no axis at one pixel of each image.
Units: nats.
Source: own design; discretized_logistics has that of the mixture.
Right panel: torch_impl/probability/pixel_likelihoods.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model_specs.vlae import BERNOULLI, MIXTURE, VLAEConfig
from numpy_ref.nn import checks
from numpy_ref.nn.functional import sigmoid
from numpy_ref.nn.module import Array, Vjp
from numpy_ref.probability.discretized_logistics import (
    discretized_logistic_mixture_mean,
    discretized_logistic_mixture_nll,
    discretized_logistic_mixture_sample,
)
from numpy_ref.probability.distributions import bernoulli_nll


def draw_bernoulli(params: Array, u: Array) -> tuple[Array, Array]:
    """x = 1 where u < p, else 0, and p = sigmoid(params). Any shape."""
    p = sigmoid(params)
    return (u < p).astype(p.dtype), p


class BernoulliPixels:
    """p(x_i = 1 | .) = sigmoid(logits_i), for images of pixels 0 and 1.

    P = U = C = 1.
    """

    def __init__(self, config: VLAEConfig) -> None:
        self.config = config

    def check(self, name: str, x: Array, dtype: np.dtype) -> None:
        """Raise ValueError for an x of wrong shape or dtype, or of other values than 0 and 1."""
        checks.check_binary(name, x, self.config.example_shape, dtype)

    def nll(self, params: Array, x: Array) -> tuple[Array, Vjp]:
        """-log p(x | .) of each image.   params (N, P, H, W), x (N, C, H, W) -> (N,)"""
        nll, nll_vjp = bernoulli_nll(params.reshape(len(x), -1), x.reshape(len(x), -1))
        return nll, lambda dnll: nll_vjp(dnll).reshape(params.shape)

    def draw(self, params: Array, u: Array, mean: bool) -> tuple[Array, Array]:
        """x ~ p(x | .) by uniform numbers, and E[x] if `mean`, otherwise x again.

        Shapes: params (N, P, ...), u (N, U, ...) -> (N, C, ...) each.
        """
        x, p = draw_bernoulli(params, u)
        return x, p if mean else x


class MixturePixels:
    """p(x_i | .) is a discretised mixture of logistics, for images of the levels 0, 1/255, ..., 1.

    P = M (1 + 2) for grey and M (1 + 3 * 3) for colour, M components; U = 1 + C.
    """

    def __init__(self, config: VLAEConfig) -> None:
        self.config = config

    def check(self, name: str, x: Array, dtype: np.dtype) -> None:
        """Raise ValueError for an x of wrong shape or dtype, or of values that are no level."""
        checks.check_levels(name, x, self.config.example_shape, dtype)

    def nll(self, params: Array, x: Array) -> tuple[Array, Vjp]:
        """-log p(x | .) of each image.   params (N, P, H, W), x (N, C, H, W) -> (N,)"""
        return discretized_logistic_mixture_nll(params, x)

    def draw(self, params: Array, u: Array, mean: bool) -> tuple[Array, Array]:
        """x ~ p(x | .) by uniform numbers, and E[x] if `mean`, otherwise x again.

        Shapes: params (N, P, ...), u (N, U, ...) -> (N, C, ...) each.
        """
        x = discretized_logistic_mixture_sample(params, u)
        return x, discretized_logistic_mixture_mean(params, self.config.channels) if mean else x


PIXEL_LIKELIHOODS: dict[str, Any] = {BERNOULLI: BernoulliPixels, MIXTURE: MixturePixels}
"""The class of p(x_i | .) for each `config.likelihood`."""
