"""The flow over maps as a density: inverses, Jacobians, log-determinants, an integral."""

import numpy as np
import pytest
import torch
from helpers.small_flows import KINDS, normal_draws, numerical_jacobian
from helpers.small_map_flows import EACH_SHAPE, make_map_flows

from diptych.arrays import to_numpy

SETTINGS = {
    "of one step": {"steps": 1},
    "of four hidden layers": {"hidden_layers": 4},
    "of one hidden map": {"hidden_dim": 1},
    "without reversal": {"reverse": False},
    "of many hidden maps": {"hidden_dim": 23, "hidden_layers": 1},
}


@KINDS
@EACH_SHAPE
def test_the_inverse_and_the_flow_give_back_the_same_code(shape, mean_only):
    left, right = make_map_flows(shape, mean_only=mean_only)
    _check_inverse(left, right)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_inverse_of_other_settings(settings):
    left, right = make_map_flows((2, 4, 4), **settings)
    _check_inverse(left, right)


def _check_inverse(left, right):
    z = normal_draws(5, left.config.dim)
    tensor = torch.from_numpy(z)
    for code in (
        left.inverse(left(z)[0].eps),
        left(left.inverse(z))[0].eps,
        to_numpy(right.inverse(right(tensor).eps.detach())),
        to_numpy(right(right.inverse(tensor)).eps),
    ):
        np.testing.assert_allclose(code, z, rtol=1e-12, atol=1e-12)


@KINDS
@EACH_SHAPE
def test_each_step_s_inverse_agrees_with_d_forward_passes(shape, mean_only):
    """The naive inverse computes all outputs for each dimension, and keeps one."""
    left, right = make_map_flows(shape, mean_only=mean_only)
    eps = normal_draws(3, left.config.dim)
    for step, twin, order in zip(left.steps, right.steps, left.config.orders, strict=True):
        z = np.zeros_like(eps)
        for d in order.dimensions:
            mu, *log_sigma = np.split(step.made(z)[0], 1 if mean_only else 2, axis=-1)
            sigma = np.exp(log_sigma[0]) if log_sigma else np.ones_like(mu)
            z[:, d] = eps[:, d] * sigma[:, d] + mu[:, d]
        np.testing.assert_allclose(step.inverse(eps), z, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(twin.inverse(torch.from_numpy(eps)), z, rtol=1e-12, atol=1e-12)


@KINDS
@EACH_SHAPE
def test_the_log_determinant_is_that_of_autograd_s_jacobian(shape, mean_only):
    left, right = make_map_flows(shape, mean_only=mean_only)
    z = normal_draws(left.config.dim)
    logdet = left(z)[0].logdet
    exact = torch.autograd.functional.jacobian(lambda z: right(z).eps, torch.from_numpy(z))
    assert logdet == pytest.approx(torch.linalg.slogdet(exact).logabsdet.item(), abs=1e-11)
    measured = numerical_jacobian(lambda z: left(z)[0].eps, z)
    np.testing.assert_allclose(measured, exact, atol=1e-8)
    assert (logdet == 0) == left.config.mean_only


@KINDS
@EACH_SHAPE
def test_the_jacobian_of_each_step_is_triangular_in_its_order(shape, mean_only):
    """With the dimensions in the step's order, no entry above the diagonal, and none 0 on it."""
    left, right = make_map_flows(shape, mean_only=mean_only)
    z = normal_draws(left.config.dim)
    for k, (step, twin) in enumerate(zip(left.steps, right.steps, strict=True)):
        order = list(left.config.orders[k].dimensions)
        exact = torch.autograd.functional.jacobian(lambda z, s=twin: s(z).eps, torch.from_numpy(z))
        ordered = exact.numpy()[np.ix_(order, order)]
        assert not np.triu(ordered, 1).any() and np.diag(ordered).all()
        assert shape[1:] == (1, 1) or np.tril(ordered, -1).any()
        assert mean_only == (np.diag(ordered) == 1).all()
        np.testing.assert_allclose(
            step.log_sigma(z), -np.log(np.diag(exact)), rtol=1e-12, atol=1e-13
        )
        if shape[1:] != (1, 1):  # a wrong order is not triangular
            assert np.triu(exact.numpy()[np.ix_(order[::-1], order[::-1])], 1).any()


@KINDS
def test_the_slopes_of_the_dimensions_sum_to_the_log_determinant(mean_only):
    for model in make_map_flows((2, 2, 3), mean_only=mean_only):
        z = normal_draws(3, 12)
        z = z if hasattr(model, "astype") else torch.from_numpy(z)
        eps, logdet = model(z)[0] if isinstance(z, np.ndarray) else model(z)
        same, slopes = model.log_slopes(z)
        np.testing.assert_array_equal(to_numpy(same), to_numpy(eps))
        assert slopes.shape == z.shape
        np.testing.assert_allclose(to_numpy(slopes).sum(-1), to_numpy(logdet), atol=1e-13)


@KINDS
def test_the_density_integrates_to_one(mean_only):
    """The midpoint rule over two maps of one pixel, and over one map of two pixels."""
    for shape in ((2, 1, 1), (1, 1, 2), (1, 2, 1)):
        left, _ = make_map_flows(shape, mean_only=mean_only)
        samples = left.inverse(normal_draws(20_000, 2))
        low, high = samples.min(0), samples.max(0)
        low, high = low - (high - low), high + (high - low)
        points = 600
        axes = [
            a + (np.arange(points) + 0.5) * (b - a) / points for a, b in zip(low, high, strict=True)
        ]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        density = np.exp(left.log_prob(grid)[0])
        assert density.sum() * np.prod((high - low) / points) == pytest.approx(1, abs=1e-4)
