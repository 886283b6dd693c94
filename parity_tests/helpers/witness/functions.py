"""A case for every pure function of the left panel that returns `(y, vjp)`.

The sizes of the axes are small primes that all differ, so that no axis can stand for another. Each
branch of a function has an input of its own, and inputs are not near the edges between branches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from helpers.witness.runs import Case

import numpy_ref.lstm
import numpy_ref.rnn
import torch_impl.lstm
import torch_impl.rnn
from numpy_ref import score_function
from numpy_ref.autoregressive import flow, gated_pixel_cnn, latents, pixel_cnn
from numpy_ref.nn import convolution, functional, images, layers
from numpy_ref.probability import discretized_logistics, distributions, grey_distributions
from torch_impl import score_function as right_score_function
from torch_impl.autoregressive import flow as right_flow
from torch_impl.autoregressive import gated_pixel_cnn as right_gated
from torch_impl.autoregressive import latents as right_latents
from torch_impl.autoregressive import pixel_cnn as right_pixel_cnn
from torch_impl.nn import functional as right_functional
from torch_impl.nn import images as right_images
from torch_impl.probability import discretized_logistics as right_logistics
from torch_impl.probability import distributions as right_distributions
from torch_impl.probability import grey_distributions as right_grey

N, L, D, H, Z = 2, 3, 5, 7, 11
EPS = 1e-5
RNG = np.random.default_rng(20261129)
CASES: dict[str, Case] = {}
COVERED: dict[Callable[..., Any], list[str]] = {}
"""The names of the cases of each function."""


def add(
    left: Any, right: Any, *arguments: Any, point: str = "", pure: Any = None, **options: Any
) -> None:
    """Add a case for the function `pure`, which `left` calls, by default `left` itself."""
    function = pure or left
    name = f"{function.__name__}, {point}" if point else function.__name__
    assert name not in CASES, name
    CASES[name] = Case(
        functools.partial(left, **options), functools.partial(right, **options), arguments
    )
    COVERED.setdefault(function, []).append(name)


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return scale * RNG.normal(size=shape)


def whole(low: int, high: int, *shape: int) -> np.ndarray:
    return RNG.integers(low, high, shape)


def either_sign(*sizes: float) -> np.ndarray:
    """A column of the sizes with each sign: a row, an example, for each."""
    return np.array([*sizes, *(-size for size in sizes)])[:, None]


# nn


add(functional.linear, F.linear, normal(N, L, D), normal(H, D), normal(H))
add(functional.embedding, F.embedding, whole(0, H, L, N), normal(H, D))
add(functional.weight_norm, right_functional.weight_norm, normal(H, D, L), normal(H, 1, 1))
add(
    functional.weight_norm,
    right_functional.weight_norm,
    normal(D, H, L),
    normal(1, H, 1),
    point="axis 1",
    axis=1,
)
add(functional.relu, torch.relu, normal(N, H))
add(functional.elu, F.elu, normal(N, H))
add(functional.elu, F.elu, either_sign(1e-9, 1e-3, 30.0, 800.0), point="near 0 and far")
add(functional.tanh, torch.tanh, normal(N, H))
add(functional.tanh, torch.tanh, either_sign(1e-9, 1e-3, 15.0, 800.0), point="near 0 and far")
for _name in ("softmax", "log_softmax", "logsumexp"):
    _pair = getattr(functional, _name), getattr(right_functional, _name)
    add(*_pair, normal(N, L, D, scale=3))
    add(*_pair, normal(N, L, D, scale=3), point="axis 1", axis=1)
    add(*_pair, 1e5 + normal(N, D, scale=3), point="near 1e5")
add(
    functional.cross_entropy,
    lambda logits, y: F.cross_entropy(logits, y, reduction="none"),
    normal(L, D, scale=3),
    whole(0, D, L),
)
_shapes = {
    "": ((3, 2), (1, 1), (0, 0)),
    "strided": ((2, 3), (2, 1), (1, 2)),  # its vjp computes dx by equation (2)
    "flipped": ((3, 3), (1, 1), (1, 1)),  # and here by (3)
}
for _point, (_kernel, _stride, _padding) in _shapes.items():
    _options: dict[str, Any] = {"stride": _stride, "padding": _padding}
    _conv = functional, normal(N, 3, 5, 7), normal(2, 3, *_kernel), normal(2)
    add(convolution.conv2d, F.conv2d, *_conv[1:], point=_point, **_options)
    add(
        convolution.conv_transpose2d,
        F.conv_transpose2d,
        normal(N, 3, 4, 5),
        normal(3, 2, *_kernel),
        normal(2),
        point=_point,
        **_options,
    )


def _batch_norm(x: Any, w: Any, b: Any, eps: Any, statistics: Any = None) -> Any:
    """y of batch_norm: its mu and var have no gradient."""
    (y, _, _), vjp = layers.batch_norm(x, w, b, eps, statistics)
    return y, vjp


def _right_batch_norm(x: Any, w: Any, b: Any, eps: float, statistics: Any = None) -> Any:
    if statistics is None:
        return F.batch_norm(x, None, None, w, b, True, 0.1, eps)
    return F.batch_norm(x, *(s.detach() for s in statistics), w, b, False, 0.1, eps)


_images, _scales = normal(N, 3, 5, 7), (normal(3), normal(3))
_averages = normal(3), 0.5 + RNG.random(3)
for _point, _shift, _statistics in (
    ("", 0, ()),
    ("of means to 300", np.array([0.0, 10.0, -300.0])[:, None, None], ()),
    ("by running averages", 0, (_averages,)),
):
    _arguments = _images + _shift, *_scales, EPS, *_statistics
    add(_batch_norm, _right_batch_norm, *_arguments, pure=layers.batch_norm, point=_point)

# probability

_x = RNG.random((N, 1, D))
for _name in ("bernoulli_nll", "bernoulli_clamped_nll", "squared_error"):
    add(
        getattr(distributions, _name),
        getattr(right_distributions, _name),
        normal(N, L, D),
        _x,
    )
_certain = either_sign(1e-6, 8.0, 25.0, 40.0), np.repeat([0.0, 1.0], 4)[:, None]
for _name in ("bernoulli_nll", "bernoulli_clamped_nll"):
    _pair = getattr(distributions, _name), getattr(right_distributions, _name)
    add(*_pair, *_certain, point="wrong, up to 40 nats")
    add(*_pair, -_certain[0], _certain[1], point="certain and right")
add(
    distributions.gaussian_nll,
    right_distributions.gaussian_nll,
    normal(N, L, D),
    _x,
    0.7,
)
for _name in ("gaussian_kl", "gaussian_kl_sigma"):
    _pair = getattr(distributions, _name), getattr(right_distributions, _name)
    add(*_pair, normal(N, Z), normal(N, Z))
    add(*_pair, normal(N, Z, scale=1e-6), normal(N, Z, scale=1e-6), point="near 0")
add(
    distributions.gaussian_kl_sampled,
    right_distributions.gaussian_kl_sampled,
    normal(N, Z),
    normal(N, L, Z),
    normal(N, L, Z),
)
_continuous = grey_distributions.continuous_bernoulli_nll, right_grey.continuous_bernoulli_nll
add(*_continuous, normal(N, L, D, scale=2), _x)
add(
    *_continuous,
    either_sign(1e-7, 0.3, 0.9, 1.1, 5.0, 40.0),
    np.full((12, 1), 0.3),
    point="all branches",
)
_beta = grey_distributions.beta_nll, right_grey.beta_nll
add(*_beta, normal(N, L, D), normal(N, L, D), _x)
add(*_beta, normal(N, D), 5 + normal(N, D), _x[:, 0], point="concentrated")
_far = either_sign(0.5, 340.0, 350.0, 800.0)
add(*_beta, _far, normal(8, 1), np.full((8, 1), 0.3), point="clamped means")
_far, _means, _thirds = abs(_far[:4]), either_sign(1.5, 3.0), np.full((4, 1), 0.3)
add(*_beta, _means, -_far, _thirds, point="clamped low concentrations")
add(*_beta, _means, _far, _thirds, point="clamped high concentrations")
_truncated = grey_distributions.truncated_gaussian_nll, right_grey.truncated_gaussian_nll
add(*_truncated, normal(N, L, D, scale=2), _x, 0.7)
add(
    *_truncated,
    np.array([-40.0, -3.0, -0.1, 0.1, 0.4, 0.6, 0.9, 1.1, 4.0, 41.0])[:, None],
    np.full((10, 1), 0.3),
    0.2,
    point="all branches",
)

_levels = whole(0, 256, N, 3, 1, D) / 255
_levels[0, :, :, 0], _levels[0, :, :, 1] = 0, 1
add(discretized_logistics.logsigmoid, F.logsigmoid, normal(N, H))
add(
    discretized_logistics.logsigmoid,
    F.logsigmoid,
    either_sign(1e-9, 1e-3, 30.0, 800.0),
    point="near 0 and far",
)
_logistic = discretized_logistics.discretized_logistic, right_logistics.discretized_logistic
add(*_logistic, normal(N, 3, L, D), normal(N, 3, L, D), _levels)
_grid = np.meshgrid(either_sign(1e-6, 0.5, 3.0, 40.0), [-6.9, -3.0, 0.5, 7.0, 30.0, 740.0])
for _point, _level in (("low end", 0.0), ("middle", 0.4), ("high end", 1.0)):
    add(*_logistic, *_grid, np.full((6, 8), _level), point=_point)
add(*_logistic, normal(L, D), -7 - RNG.random((L, D)), np.full((L, D), 0.4), point="floor")
_conditional = discretized_logistics.conditional_means, right_logistics.conditional_means
add(
    lambda means, coefficients, y: _conditional[0](means, y, coefficients),
    lambda means, coefficients, y: _conditional[1](means, y, coefficients),
    normal(N, 3, L, D),
    normal(N, 3, L, D),
    2 * _levels - 1,
    pure=discretized_logistics.conditional_means,
)
_mixture = (
    discretized_logistics.discretized_logistic_mixture_nll,
    right_logistics.discretized_logistic_mixture_nll,
)
add(*_mixture, normal(N, 30, D, H), whole(0, 256, N, 3, D, H) / 255, point="colour")
add(*_mixture, normal(N, 3 * L, H), whole(0, 256, N, 1, H) / 255, point="grey")

# autoregressive

add(flow.affine, right_flow.affine, normal(N, L, D), normal(N, L, D), normal(N, L, D))
_kl = RNG.random((N, D))
add(latents.mean_kl, right_latents.mean_kl, _kl)
for _point, _free in (("", 0.1), ("below", 90.0)):
    for _name in ("total_free_bits", "latent_free_bits"):
        _pair = getattr(latents, _name), getattr(right_latents, _name)
        add(*_pair, _kl, _free, point=_point)
add(latents.latent_free_bits, right_latents.latent_free_bits, _kl, D * 0.5, point="some below")
add(gated_pixel_cnn.concat_elu, right_gated.concat_elu, normal(N, L, H))
add(
    gated_pixel_cnn.concat_elu,
    right_gated.concat_elu,
    either_sign(1e-9, 1e-3, 30.0, 800.0),
    point="near 0 and far",
)
add(gated_pixel_cnn.gate, right_gated.gate, normal(N, 2 * L, H, scale=3))
add(pixel_cnn.luma, right_pixel_cnn.luma, RNG.random((N, 3, D, H)))
for _choice in ("all", "grey"):
    add(
        pixel_cnn.read_context,
        right_pixel_cnn.read_context,
        RNG.random((N, 3, D, H)),
        point=_choice,
        context_channels=_choice,
    )

# models

add(numpy_ref.rnn.rnn_cell, torch_impl.rnn.rnn_cell, normal(N, H))
add(numpy_ref.lstm.lstm_cell, torch_impl.lstm.lstm_cell, normal(N, 4 * H), normal(N, H))
add(
    numpy_ref.lstm.lstm_cell,
    torch_impl.lstm.lstm_cell,
    normal(N, 4 * H, scale=10),
    normal(N, H, scale=10),
    point="saturated",
)
add(
    score_function.log_q,
    right_score_function.log_q,
    normal(N, Z),
    normal(N, Z),
    normal(N, L, Z),
)
add(images._sigmoid, torch.sigmoid, normal(N, D, scale=3))
add(images._identity, right_images._identity, normal(N, D))
add(
    images.inside,
    right_images.inside,
    normal(N, 3, 7, 7),
    window=(slice(1, 6), slice(2, 4)),
)

# added later, so that the arguments above stay what they were

_pair = distributions.gaussian_learned_nll, right_distributions.gaussian_learned_nll
for _point, _floor in (("", None), ("floor", -0.5)):
    add(*_pair, normal(N, L, D), normal(N, L, D), _x, point=_point, min_logvar=_floor)
_grid = np.meshgrid(either_sign(1e-6, 0.5, 1e6), [-300.0, -40.0, -9.0, -8.0, 5.0, 300.0])
add(*_pair, *_grid, np.full((6, 6), 0.3), point="far", min_logvar=-9.0)
_pair = distributions.floor_logvar, right_distributions.floor_logvar
add(*_pair, normal(N, D), None)
add(*_pair, np.array([-40.0, -9.1, -9.0, -8.9, 5.0, 300.0])[:, None], -9.0, point="floor")
