"""The flow as a density: inverses, volumes, integrals, and AF prior and IAF posterior."""

import math

import numpy as np
import pytest
import torch
from helpers.small_flows import GRID, KINDS, ODD, make_flows, normal_draws, numerical_jacobian
from scipy import integrate, stats
from torch import distributions as td

from numpy_ref.probability.distributions import bernoulli_nll

# Inverses and volumes


@pytest.mark.parametrize("settings", [*GRID[::3], *GRID[2::3], *ODD], ids=str)
def test_there_and_back_again(settings):
    left, right = make_flows(**settings)
    z = normal_draws(5, left.config.dim)
    np.testing.assert_allclose(left.inverse(left(z)[0].eps), z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(left(left.inverse(z))[0].eps, z, rtol=1e-12, atol=1e-12)
    tensor = torch.from_numpy(z)
    np.testing.assert_allclose(right.inverse(right(tensor).eps), z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(right(right.inverse(tensor)).eps.detach(), z, rtol=1e-12, atol=1e-12)
    stacked = np.stack((z, 2 * z), axis=1)
    np.testing.assert_allclose(left.inverse(stacked)[:, 0], left.inverse(z), rtol=1e-12)
    for model, array in ((left, z), (right, tensor)):
        assert model.inverse(array[0]).shape == array[0].shape


@KINDS
def test_each_step_s_inverse_agrees_with_d_forward_passes(mean_only):
    """The textbook inverse: D passes, each of which completes one more dimension."""
    left, _ = make_flows(mean_only=mean_only, hidden_layers=3)
    eps = normal_draws(4, 7)
    for step, order in zip(left.steps, left.config.orders, strict=True):
        z = np.zeros_like(eps)
        for d in order:
            mu, *log_sigma = np.split(step.made(z)[0], 1 if mean_only else 2, axis=-1)
            sigma = np.exp(log_sigma[0]) if log_sigma else np.ones_like(mu)
            z[:, d] = eps[:, d] * sigma[:, d] + mu[:, d]
        np.testing.assert_allclose(step.inverse(eps), z, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("settings", [*GRID[::5], *ODD], ids=str)
def test_the_log_determinant_is_the_jacobian_s(settings):
    left, right = make_flows(**settings)
    z = normal_draws(left.config.dim)
    logdet = left(z)[0].logdet
    _, measured = np.linalg.slogdet(numerical_jacobian(lambda z: left(z)[0].eps, z))
    exact = torch.autograd.functional.jacobian(lambda z: right(z).eps, torch.from_numpy(z))
    assert logdet == pytest.approx(torch.linalg.slogdet(exact).logabsdet.item(), abs=1e-12)
    assert logdet == pytest.approx(measured, abs=1e-8)
    assert (logdet == 0) == left.config.mean_only
    many = normal_draws(5, left.config.dim)
    assert left.config.mean_only == (not left(many)[0].logdet.any())
    assert left.config.mean_only == (not right(torch.from_numpy(many)).logdet.any())


# Densities


@KINDS
@pytest.mark.parametrize("dim", [1, 2])
def test_the_density_integrates_to_one(dim, mean_only):
    """The midpoint rule in a box three times as wide as the samples gives 1 and their mean."""
    left, _ = make_flows(dim=dim, order=None, hidden_dim=8, mean_only=mean_only)
    samples = left.inverse(normal_draws(20_000, dim))
    low, high = samples.min(0), samples.max(0)
    low, high = low - (high - low), high + (high - low)
    points = 1500
    axes = [
        a + (np.arange(points) + 0.5) * (b - a) / points for a, b in zip(low, high, strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    density = np.exp(left.log_prob(grid)[0])
    volume = np.prod((high - low) / points)
    assert density.sum() * volume == pytest.approx(1, abs=1e-4)
    mean = (grid * density[..., None]).reshape(-1, dim).sum(0) * volume
    np.testing.assert_allclose(mean, samples.mean(0), atol=5 * samples.std(0).max() / 20_000**0.5)


def test_in_one_dimension_it_is_a_gaussian():
    """mu and sigma are constants: scipy's normal density, and an integral of 1 by quad."""
    left, _ = make_flows(dim=1, order=None, mean_only=False)
    mean, one = left.inverse(np.array([[0.0], [1.0]]))[:, 0]
    z = np.linspace(mean - 3, mean + 3, 7)
    log_p = left.log_prob(z[:, None])[0]
    np.testing.assert_allclose(log_p, stats.norm(mean, one - mean).logpdf(z), rtol=1e-11)
    total, _ = integrate.quad(
        lambda z: math.exp(left.log_prob(np.array([z]))[0]), -math.inf, math.inf
    )
    assert total == pytest.approx(1, abs=1e-9)


@KINDS
def test_log_prob_is_that_of_torch_distributions(mean_only):
    """The log-determinant of torch is that of autograd's Jacobian."""
    left, right = make_flows(mean_only=mean_only)
    z = normal_draws(4, 7)
    for log_p, point in zip(left.log_prob(z)[0], torch.from_numpy(z), strict=True):
        eps = right(point).eps.detach()
        slopes = torch.autograd.functional.jacobian(lambda z: right(z).eps, point)
        base = td.Independent(td.Normal(torch.zeros(7).double(), 1), 1).log_prob(eps)
        wanted = base + torch.linalg.slogdet(slopes).logabsdet
        assert log_p == pytest.approx(wanted.item(), rel=1e-12)


@KINDS
def test_an_af_prior_is_an_iaf_posterior(mean_only, rng):
    """Both forms give one bound from the same weights (Chen et al. 2016, section 3.2).

    AF prior        log p(x|z) + log p(z) - log q(z|x),            p(z) the flow's
    IAF posterior   log p(x|f(eps)) + log N(eps) - log q(eps|x),   q(eps|x) the flow's
    """
    left, right = make_flows(mean_only=mean_only)
    mu, std, decoder = rng.normal(size=7), rng.uniform(0.3, 1.2, 7), rng.normal(size=(7, 9))
    x = rng.integers(0, 2, 9).astype(float)
    z = mu + std * normal_draws(6, 7)
    log_q = stats.norm(mu, std).logpdf(z).sum(-1)
    prior = -bernoulli_nll(z @ decoder, x)[0] + left.log_prob(z)[0] - log_q

    eps, logdet = (part.detach().numpy() for part in right(torch.from_numpy(z)))
    log_q_eps = log_q - logdet
    nll = bernoulli_nll(left.inverse(eps) @ decoder, x)[0]
    posterior = -nll + stats.norm.logpdf(eps).sum(-1) - log_q_eps
    np.testing.assert_allclose(prior, posterior, rtol=1e-12)
