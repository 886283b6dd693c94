"""Densities and divergences against torch.distributions and scipy.stats: neither panel."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as td

from numpy_ref.probability import distributions as left
from torch_impl.probability import distributions as right

N, L, D, Z = 5, 3, 7, 4


def both(name, *arguments):
    """The value of the left panel, after a comparison with the right one."""
    ours, _ = getattr(left, name)(*arguments)
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    theirs = getattr(right, name)(*tensors).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)
    return ours


def test_bernoulli(rng):
    logits, x = rng.normal(0, 3, (N, L, D)), rng.integers(0, 2, (N, 1, D)).astype(float)
    result = both("bernoulli_nll", logits, x)
    torch_says = -td.Bernoulli(logits=torch.tensor(logits)).log_prob(torch.tensor(x)).sum(-1)
    scipy_says = -stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-logits))).sum(-1)
    np.testing.assert_allclose(result, torch_says.numpy(), rtol=1e-12)
    np.testing.assert_allclose(result, scipy_says, rtol=1e-10)


@pytest.mark.parametrize("size", [30.0, 80.0, 800.0])
def test_bernoulli_keeps_its_digits_where_the_sigmoid_saturates(size):
    """-log p of a certain and right prediction is log1p(e^-size), not 0."""
    logits, sure, wrong = np.array([[-size], [size]]), [[0.0], [1.0]], [[1.0], [0.0]]
    result, _ = left.bernoulli_nll(logits, np.array(sure))
    np.testing.assert_allclose(result, math.log1p(math.exp(-size)), rtol=1e-14)
    # torch's fused form adds and takes away `size`, so it keeps that number's last digit at best
    torch_says = right.bernoulli_nll(torch.tensor(logits), torch.tensor(sure)).numpy()
    np.testing.assert_allclose(torch_says, result, rtol=0, atol=size * np.finfo(float).eps)
    np.testing.assert_allclose(both("bernoulli_nll", logits, np.array(wrong)), size, rtol=1e-12)


def test_bernoulli_probabilities_add_up_to_one(rng):
    """The sum is over all 2^7 images."""
    images = np.array(np.meshgrid(*[[0.0, 1.0]] * D)).reshape(D, -1).T
    logits = np.broadcast_to(rng.normal(0, 2, D), images.shape).copy()
    assert np.exp(-both("bernoulli_nll", logits, images)).sum() == pytest.approx(1, abs=1e-13)


def test_clamped_bernoulli_is_its_formula(rng):
    logits, x = rng.normal(0, 3, (N, L, D)), rng.random((N, 1, D))
    p = stats.logistic.cdf(logits)
    formula = -(x * np.log(p + 1e-8) + (1 - x) * np.log(1 - p + 1e-8)).sum(-1)
    np.testing.assert_allclose(both("bernoulli_clamped_nll", logits, x), formula, rtol=1e-12)
    # and the clamp bites: the exact form would say 60
    assert both("bernoulli_clamped_nll", np.array([[60.0]]), np.array([[0.0]])) < 19


def test_gaussian(rng):
    mean, x, std = rng.normal(size=(N, L, D)), rng.normal(size=(N, 1, D)), 0.7
    result = both("gaussian_nll", mean, x, std)
    torch_says = -td.Normal(torch.tensor(mean), std).log_prob(torch.tensor(x)).sum(-1)
    np.testing.assert_allclose(result, torch_says.numpy(), rtol=1e-13)
    np.testing.assert_allclose(result, -stats.norm.logpdf(x, mean, std).sum(-1), rtol=1e-13)


def test_closed_form_kl(rng):
    mu, logvar = rng.normal(size=(N, Z)), rng.normal(size=(N, Z))
    q = td.Normal(torch.tensor(mu), torch.tensor(np.exp(logvar / 2)))
    torch_says = td.kl_divergence(q, td.Normal(torch.zeros(()), torch.ones(()))).sum(-1).numpy()
    np.testing.assert_allclose(both("gaussian_kl", mu, logvar), torch_says, rtol=1e-13)
    sigma = np.exp(logvar / 2) * rng.choice([-1, 1], (N, Z))
    np.testing.assert_allclose(both("gaussian_kl_sigma", mu, sigma), torch_says, rtol=1e-6)


def test_closed_form_kl_is_the_integral_of_its_definition():
    mu, sigma = 0.8, 1.7
    q, p = stats.norm(mu, sigma), stats.norm()
    integral, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -20, 20)
    result = both("gaussian_kl", np.array([[mu]]), np.array([[2 * math.log(sigma)]]))
    assert result[0] == pytest.approx(integral, abs=1e-10)


def test_sigma_kl_is_its_formula_and_finite_at_zero(rng):
    mu, sigma = rng.normal(size=(N, Z)), rng.normal(size=(N, Z))
    sigma[0, 0] = 0
    formula = -0.5 * (1 + np.log(sigma**2 + 1e-8) - mu**2 - sigma**2).sum(-1)
    np.testing.assert_allclose(both("gaussian_kl_sigma", mu, sigma), formula, rtol=1e-13)
    np.testing.assert_array_equal(
        both("gaussian_kl_sigma", mu, -sigma), both("gaussian_kl_sigma", mu, sigma)
    )


def test_kl_keeps_its_digits_near_the_prior():
    """exp(logvar) - 1 - logvar would have two correct digits here."""
    tiny = 1e-7
    result = both("gaussian_kl", np.zeros((1, 1)), np.full((1, 1), tiny))
    assert result[0] == pytest.approx(tiny**2 / 4, rel=1e-6)


def test_sampled_kl_is_the_difference_of_log_densities(rng):
    mu, logvar = rng.normal(size=(N, Z)), rng.normal(size=(N, Z))
    eps = rng.normal(size=(N, L, Z))
    z = mu[:, None] + np.exp(logvar / 2)[:, None] * eps
    q = td.Normal(torch.tensor(mu)[:, None], torch.tensor(np.exp(logvar / 2))[:, None])
    log_q = q.log_prob(torch.tensor(z)).sum(-1).numpy()
    log_p = stats.norm.logpdf(z).sum(-1)
    np.testing.assert_allclose(
        both("gaussian_kl_sampled", logvar, z, eps), log_q - log_p, rtol=1e-11
    )


def test_the_sampled_kl_tends_to_the_analytic_one(rng):
    mu, logvar = rng.normal(size=(2, Z)), 0.5 * rng.normal(size=(2, Z))
    eps = rng.normal(size=(2, 40_000, Z))
    z = mu[:, None] + np.exp(logvar / 2)[:, None] * eps
    draws = both("gaussian_kl_sampled", logvar, z, eps)
    error = draws.std(1) / eps.shape[1] ** 0.5
    assert (np.abs(draws.mean(1) - both("gaussian_kl", mu, logvar)) < 5 * error).all()
