"""Small flows on both panels, their settings, and a numerical Jacobian, for the tests of flows."""

import itertools

import numpy as np
import pytest

from diptych import weights
from model_specs.autoregressive.flow import AutoregressiveFlowConfig
from model_specs.common.key import Key
from numpy_ref.autoregressive import flow as left_side
from numpy_ref.nn import random
from torch_impl.autoregressive import flow as right_side

SHUFFLED = (3, 0, 4, 6, 1, 5, 2)
ORDERS = {
    "forwards": tuple(range(7)),
    "backwards": tuple(range(7))[::-1],
    "shuffled": SHUFFLED,
}
SMALL = {
    "dim": 7,
    "hidden_dim": 11,
    "hidden_layers": 2,
    "steps": 3,
    "mean_only": False,
    "order": SHUFFLED,
}
KINDS = pytest.mark.parametrize("mean_only", [True, False], ids=["mean-only", "affine"])
GRID = [
    {"mean_only": mean_only, "hidden_layers": layers, "steps": steps, "order": order}
    for mean_only, layers, steps, order in itertools.product(
        (True, False), (1, 2, 3, 4), (1, 2, 3), ORDERS.values()
    )
]
ODD = [
    {"dim": 1, "hidden_dim": 3, "order": None},
    {"dim": 2, "hidden_dim": 1, "order": (1, 0)},
    {"hidden_dim": 2},  # fewer units than dimensions
    {"hidden_dim": 1, "hidden_layers": 4},
    {"reverse": False},
    {"dim": 13, "hidden_dim": 29, "order": None},
]


def make_flows(dtype="float64", **settings):
    """(left, right) with the same weights, none of them 0, large enough to change z noticeably."""
    config = AutoregressiveFlowConfig(**SMALL | settings)
    left = left_side.AutoregressiveFlow(config, Key(3), dtype)
    right = right_side.AutoregressiveFlow(config, Key(4), dtype)
    for name, parameter in left.named_parameters():
        noise = random.normal(Key(5).fold_in(name), parameter.data.shape, dtype=dtype)
        # with larger weights log sigma, which has no bounds, grows from dimension to dimension
        parameter.data += 0.8 * noise * noise.shape[-1] ** -0.5
    weights.transfer(left, right)
    return left, right


def normal_draws(*shape, seed=0):
    """Standard normal numbers of a fixed key."""
    return random.normal(Key(17).fold_in(seed), shape)


def numerical_jacobian(function, z, step=1e-4):
    """Jacobian of `function` at one z (D) by central differences: [i, j] = d out_i / d z_j.

    The four points of each dimension are evaluated in one batch.
    """
    offsets = step * np.concatenate([points * np.eye(len(z)) for points in (1, -1, 2, -2)])
    one, minus, two, minus_two = np.split(function(z + offsets), 4)
    return ((8 * (one - minus) - (two - minus_two)) / (12 * step)).T
