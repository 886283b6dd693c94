"""Errors beside far larger elements where no gap separates the magnitudes, single wrong elements of
large tensors, and bounds that are too wide to prove anything."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.situations import draw, pair, right, situation, situations_of
from torch import nn

MASKS = [(-1e4, 1), (-1e4, 5), (-65504.0, 30), (-3e4, 5), (-1e5, 30), (-1e9, 30)]


def _pair(function, other, x):
    def model(of):
        return right(forward=lambda self, x: of(x))

    return pair(model(function), model(other), x)


def _masked(case, error, dtype):
    fill, scale = case
    x = (draw(2, 4, 64, 64) * scale).astype(dtype)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.95
    return _pair(
        lambda x: x.masked_fill(mask, fill), lambda x: (x + error).masked_fill(mask, fill), x
    )


@situation("1", differs=MASKS, first="forward")
def float32_scores_of_a_large_scale_beside_a_mask(case):
    return _masked(case, 1e-2 * case[1], "float32")


@situation("1", differs=MASKS, first="forward")
def float64_scores_of_a_large_scale_beside_a_mask(case):
    return _masked(case, 1e-5 * case[1], "float64")


@situation("1", agrees=MASKS)
def scores_of_a_large_scale_beside_a_mask_without_an_error(case):
    return _masked(case, 0.0, "float32")


@situation("1", agrees=[0.0], differs=[1e-2], first="forward")
def causal_mask_with_a_slope(error):
    """ALiBi: the slope fills the magnitudes between the scores and the mask."""
    distance = torch.arange(32)[:, None] - torch.arange(32)
    causal = distance >= 0

    def scores(shift):
        return lambda x: (x + shift - 8.0 * distance.abs()).masked_fill(~causal, -1e4)

    return _pair(scores(0.0), scores(error), draw(4, 8, 32, 32).astype(np.float32))


FILLS = [-1e4, -65504.0, -1e6, -1e9, -1e12, float(np.finfo(np.float32).min)]


def _added(fill, error):
    """A mask that is added in float32: it leaves masked scores with a large rounding error."""
    causal = torch.ones(32, 32, dtype=torch.bool).tril()
    mask, shift = torch.where(causal, 0.0, fill), torch.where(causal, error, 0.0)
    x = draw(4, 8, 32, 32).astype(np.float32)
    return _pair(lambda x: 4 * x + mask, lambda x: 4 * x + shift + mask, x)


@situation("1", agrees=FILLS)
def mask_that_is_added(fill):
    return _added(fill, 0.0)


@situation("1", differs=FILLS, first="forward")
def mask_that_is_added_to_wrong_scores(fill):
    return _added(fill, 1e-2)


STEPS = [1, 2, 2.5, 3]


def _columns(step):
    scale = torch.tensor(10.0 ** np.arange(0, 9.1, step))
    error = torch.zeros_like(scale)
    error[0] = 1e-5
    return scale, error, draw(64, len(scale))


@situation("1", agrees=[0.0], differs=[1.0], first="forward")
def outliers_between_a_mask_and_the_rest(factor):
    scale = torch.tensor([-1e9, 3e6, 1e4, 30.0] + [1.0] * 96, dtype=torch.float64)
    return _pair(
        lambda x: x * scale,
        lambda x: x * scale + factor * 1e-5 * (scale == 1),
        np.abs(draw(100)) + 0.5,
    )


@situation("1", differs=STEPS, first="forward")
def features_of_many_scales_with_an_error_in_the_smallest(step):
    scale, error, x = _columns(step)
    return _pair(lambda x: x * scale, lambda x: x * scale + error, x)


@situation("1", differs=STEPS, first="forward(x)")
def gradients_of_many_scales_with_an_error_in_the_smallest(step):
    scale, error, x = _columns(step)
    return _pair(lambda x: x * scale, lambda x: x * scale + error * (x - x.detach()), x)


@situation("1", agrees=STEPS)
def features_of_many_scales(step):
    scale, _, x = _columns(step)
    return _pair(lambda x: x * scale, lambda x: scale * x, x)


@situation("1", agrees=[0.0], differs=[1e-3], first="forward")
def float32_element_of_a_million(error):
    index = torch.arange(10**6).view(1000, 1000) == 7
    x = draw(1000, 1000).astype(np.float32)
    return _pair(lambda x: x * 1, lambda x: torch.where(index, x + error, x), x)


@situation("1", agrees=[0.0], differs=[1e-3], first="weight")
def float32_gradient_of_one_weight(error):
    model, other = nn.Linear(512, 1024), nn.Linear(512, 1024)
    other.load_state_dict(model.state_dict())
    factor = torch.ones(1024, 512)
    factor[5, 5] += error
    other.weight.register_hook(lambda gradient: gradient * factor)
    return pair(model, other, draw(64, 512).astype(np.float32))


@situation("1", agrees=[1e-5], differs=[1e-12, 1e-6], says="forward")
def float32_model_without_parameters(eps):
    """Its reference in float64 is a run in float64, not its own run in float32."""
    x = draw(50, 40).astype(np.float32)
    return _pair(lambda x: F.layer_norm(x, (40,)), lambda x: F.layer_norm(x, (40,), eps=eps), x)


@situation("1", differs=["float64", "float32"], first="forward(x)")
def gradient_at_a_tie(dtype):
    """The gradient of amax is shared by equal elements, that of max goes to one of them. A
    perturbation breaks the tie, which must not widen the bound to a factor of 1000."""
    model, other = nn.Linear(4, 4), nn.Linear(4, 4)
    other.load_state_dict(model.state_dict())
    a = right(forward=lambda self, x: x.amax(-1), layer=model)
    b = right(forward=lambda self, x: x.max(-1).values, layer=other)
    return pair(a.to(getattr(torch, dtype)), b.to(getattr(torch, dtype)), np.ones((5, 4), dtype))


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_errors_beside_larger_elements(case):
    case.check()
