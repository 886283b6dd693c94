"""Gamma draws and the inverse of log Phi, against SciPy and mpmath."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import special, stats

from model_specs.common.key import Key
from numpy_ref.probability import grey_distributions as left_densities
from numpy_ref.probability import sampling as left
from torch_impl.probability import grey_distributions as right_densities
from torch_impl.probability import sampling as right

mp.mp.dps = 80
N = 20_000
SHAPES = [1e-3, 0.2, 0.9, 1.0, 3.5, 400.0, 1e6]


def both(name, *arrays, key=()):
    """The results of a function on both panels; they must agree to 1e-13."""
    ours = getattr(left, name)(*arrays, *key)
    theirs = getattr(right, name)(*map(torch.from_numpy, arrays), *key).numpy()
    np.testing.assert_allclose(theirs, ours, rtol=1e-13, atol=1e-13)
    return ours, theirs


@pytest.mark.parametrize("a", SHAPES)
def test_gamma_draws_have_the_gamma_distribution(a):
    for log_draw in both("log_gamma_draw", np.full(N, a), key=(Key(7).fold_in(str(a)),)):
        cdf = stats.loggamma(a).cdf
        assert stats.kstest(log_draw, cdf).pvalue > 1e-3
        assert log_draw.mean() == pytest.approx(
            special.digamma(a), abs=4 * (special.polygamma(1, a) / N) ** 0.5
        )


@pytest.mark.parametrize("a", [1e-300, 1e100, 1e150])
def test_gamma_draws_of_extreme_shapes_are_finite(a):
    for log_draw in both("log_gamma_draw", np.full(50, a), key=(Key(7),)):
        assert np.isfinite(log_draw).all()
        if a > 1:
            np.testing.assert_allclose(log_draw, np.log(a), rtol=1e-14)


def test_draws_depend_on_the_key_and_the_element():
    (draws, _), (others, _) = (both("log_gamma_draw", np.ones(40), key=(Key(k),)) for k in (1, 2))
    assert len({*draws, *others}) == 80


@pytest.mark.parametrize("t", [-0.99, -0.3, -0.051, -0.049, -1e-3, 1e-10, 0.02, 0.049, 0.06, 2.0])
def test_the_excess_of_the_logarithm_by_mpmath(t):
    s = mp.mpf(t)
    expected = float(mp.log(1 + s) - s + s**2 / 2 - s**3 / 3)
    for result in both("_excess", np.array([t])):
        np.testing.assert_allclose(result, expected, rtol=1e-9)


@pytest.mark.parametrize("nu", [0.3, 2.0, 50.0, 1e5])
@pytest.mark.parametrize("mean", [0.5, 0.2, 0.9])
def test_beta_draws_have_the_beta_distribution(nu, mean):
    parameters = np.full(N, special.logit(mean)), np.full(N, np.log(nu))
    key = Key(11).fold_in(f"{nu} {mean}")
    ours = left_densities.beta_draw(*parameters, key)
    theirs = right_densities.beta_draw(*map(torch.from_numpy, parameters), key).numpy()
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-13)
    cdf = stats.beta(mean * nu, (1 - mean) * nu).cdf
    y = 1e-6 + (1 - 2e-6) * ours
    inside = (ours > 0) & (ours < 1)
    assert abs(inside.mean() - (cdf(1 - 1e-6) - cdf(1e-6))) < 4 * 0.5 / N**0.5
    low, high = cdf(1e-6), cdf(1 - 1e-6)
    assert stats.kstest((cdf(y[inside]) - low) / (high - low), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("y", [-1e-15, -1e-3, -0.49, -0.51, -3.0, -299.9, -300.1, -800.0, -5e5])
def test_ndtri_exp_inverts_log_phi_by_mpmath(y):
    for z in both("ndtri_exp", np.array([y])):
        start = mp.mpf(float(z[0]))
        root = mp.findroot(lambda t: mp.log(mp.erfc(-t / mp.sqrt(2)) / 2) - mp.mpf(y), start)
        np.testing.assert_allclose(z, float(root), rtol=1e-14)


def test_ndtri_exp_is_scipys():
    """SciPy's own is off by 5e-10 at -3e5, hence the range."""
    y = -np.exp(np.linspace(-30, 8, 5000))
    for z in both("ndtri_exp", y):
        np.testing.assert_allclose(z, special.ndtri_exp(y), rtol=1e-13, atol=1e-14)
