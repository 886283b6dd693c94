"""Grey densities where an untrained or diverging decoder puts them: far outside, both panels."""

from __future__ import annotations

import math
from itertools import product

import mpmath as mp
import numpy as np
import pytest
import torch

from model_specs.common.key import Key
from numpy_ref.probability import grey_distributions as left
from torch_impl.probability import grey_distributions as right

C = left.SQUEEZE
X = (0.0, 0.3, 1.0)
KS = {"float64": 347, "float32": 42}


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(400):
        yield


def both(function, parameters, x, *rest, dtype="float64"):
    """(value, gradients) of the left panel, and of the right one; all of one pixel."""
    arrays = [np.array([p], dtype) for p in parameters]
    nll, vjp = getattr(left, function)(*arrays, np.array([x], dtype), *rest)
    gradients = vjp(np.ones((), dtype))
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    value = getattr(right, function)(*tensors, torch.tensor([x], dtype=tensors[0].dtype), *rest)
    value.backward()
    ours = [float(nll), *(float(g[0]) for g in gradients)]
    return ours, [value.item(), *(t.grad.item() for t in tensors)]


def beta_by_mpmath(logits, log_nu, x, k=347):
    """-log density and its two derivatives, from the formula of the docstring."""

    def nll(logit, log_concentration):
        nu = mp.exp(log_concentration)
        a, b = nu / (1 + mp.exp(-logit)), nu / (1 + mp.exp(logit))
        y, rest = C + (1 - 2 * mp.mpf(C)) * mp.mpf(x), C + (1 - 2 * mp.mpf(C)) * (1 - mp.mpf(x))
        log_beta = mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(nu)
        return log_beta - (a - 1) * mp.log(y) - (b - 1) * mp.log(rest) - mp.log(1 - 2 * mp.mpf(C))

    clamped = [mp.mpf(max(-k, min(k, value))) for value in (logits, log_nu)]
    slopes = [mp.diff(nll, clamped, order) for order in ((1, 0), (0, 1))]
    inside = [abs(value) <= k for value in (logits, log_nu)]
    return [nll(*clamped), *(s if kept else 0 for s, kept in zip(slopes, inside, strict=True))]


OUTPUTS = list(product((-1000.0, -200.0, 3.0, 1000.0), (-1000.0, -100.0, 2.0)))
OUTPUTS += [(-1000.0, 5.0), (1000.0, 5.0), (1e30, -1e30)]


@pytest.mark.parametrize("x", X)
@pytest.mark.parametrize(("logits", "log_nu"), OUTPUTS)
def test_beta_at_extreme_outputs_by_mpmath(logits, log_nu, x):
    expected = [float(value) for value in beta_by_mpmath(logits, log_nu, x)]
    for result in both("beta_nll", (logits, log_nu), x):
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", KS)
@pytest.mark.parametrize("logits", [-1000.0, -3.0, 1000.0])
@pytest.mark.parametrize("x", X)
def test_beta_of_a_huge_concentration_is_finite_and_alike(logits, x, dtype):
    """nu = e^347 after the clamp; the value is about nu times a KL divergence."""
    ours, theirs = both("beta_nll", (logits, 1000.0), x, dtype=dtype)
    assert np.isfinite(ours).all() and np.isfinite(theirs).all()
    bound = {"float64": 1e-12, "float32": 1e-4}[dtype]
    np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound)
    assert ours[0] > 1e10


@pytest.mark.parametrize("panel", [left, right])
def test_beta_draws_at_extreme_outputs_are_in_the_unit_interval(panel):
    grid = [g.ravel() for g in np.meshgrid([-1e30, -1e3, 0, 1e3], [-1e3, 0, 1e3])]
    arguments = [torch.from_numpy(a) if panel is right else a for a in grid]
    x = np.asarray(panel.beta_draw(*arguments, Key(3)))
    assert ((x >= 0) & (x <= 1)).all()


def truncated_gaussian_by_mpmath(mean, x, std):
    """(-log density, its derivative by the mean), by erfc far from cancellation."""
    mean, x, std = (mp.mpf(v) for v in (mean, x, std))
    scale = std * mp.sqrt(2)

    def nll(m):
        if m > 0.5:
            ends = mp.erfc((m - 1) / scale) - mp.erfc(m / scale)
        else:
            ends = mp.erfc(-m / scale) - mp.erfc((1 - m) / scale)
        return (x - m) ** 2 / scale**2 + mp.log(std * mp.sqrt(mp.pi / 2) * ends)

    expected = mp.mpf(1) if mean > 0.5 else mp.mpf(0)
    density = [mp.exp(-((t - mean) ** 2) / scale**2) for t in (0, 1)]
    nearest = density[int(expected)]
    if nearest == 0:
        raise ValueError("more digits are needed")
    integral = mp.exp(nll(mean) - (x - mean) ** 2 / scale**2)
    mean_of_x = mean + std**2 * (density[0] - density[1]) / integral
    return nll(mean), (mean_of_x - x) / std**2


@pytest.mark.parametrize("x", X)
@pytest.mark.parametrize("std", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("size", [0.5, 3, 39, 41, 1e3, 1e6, 1e12])
@pytest.mark.parametrize("sign", [-1, 1])
def test_truncated_gaussian_of_far_means_by_mpmath(sign, size, std, x):
    """On either side of the mean at which the series begins, and far beyond it."""
    mean = (sign > 0) + sign * size * max(std, std**2)
    # e^-(size^2) is small, not 0, in mpmath; the difference of two of them needs digits
    with mp.workdps(60 + int(3 * size) if size < 1e4 else 120):
        if size < 1e4:
            expected = [float(value) for value in truncated_gaussian_by_mpmath(mean, x, std)]
        else:
            expected = exponential_by_mpmath(mean, x, std)
    for result in both("truncated_gaussian_nll", (mean,), x, std):
        np.testing.assert_allclose(result, expected, rtol=5e-13, atol=1e-13)


def exponential_by_mpmath(mean, x, std):
    """Mills' ratio to order u^2, exact to 1e-18 for u = (std / distance)^2 below 1e-6."""
    m = mp.mpf(mean if mean < 0.5 else 1 - mp.mpf(mean))
    t = mp.mpf(x if mean < 0.5 else 1 - mp.mpf(x))
    rate, u = -m / mp.mpf(std) ** 2, (mp.mpf(std) / m) ** 2
    value = t * t / (2 * mp.mpf(std) ** 2) + rate * t - mp.log(rate) + mp.log1p(-u + 3 * u**2)
    slope = ((1 - 2 * u + 10 * u**2) / rate - t) / mp.mpf(std) ** 2
    return [float(value), float(slope if mean < 0.5 else -slope)]


@pytest.mark.parametrize("x", X)
@pytest.mark.parametrize("mean", [-1e200, 1e200, -1e300, 1e300])
@pytest.mark.parametrize("std", [0.1, 2.0])
def test_truncated_gaussian_of_a_huge_mean_is_finite_and_right(mean, std, x):
    expected = exponential_by_mpmath(mean, x, std)
    for result in both("truncated_gaussian_nll", (mean,), x, std):
        assert np.isfinite(result).all()
        np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("mean", [-1e30, 1e30])
def test_truncated_gaussian_of_a_huge_mean_in_float32(mean):
    for result in both("truncated_gaussian_nll", (mean,), 0.3, 0.1, dtype="float32"):
        np.testing.assert_allclose(result, exponential_by_mpmath(mean, 0.3, 0.1), rtol=1e-5)


@pytest.mark.parametrize("size", [900.0, 1100.0, 1e5, 1e200])
@pytest.mark.parametrize("sign", [-1, 1])
def test_quantiles_of_far_means_are_those_of_the_exponential_law(sign, size):
    """The quantile solves S(t) = 1 - v, S(t) = Mills' ratio at t over that at 0, times e^..."""
    std, u = 0.3, np.array([0.01, 0.5, 0.99])
    mean = np.full(3, (sign > 0) + sign * size * std)
    draws = left.truncated_gaussian_icdf(mean, u, std)
    theirs = right.truncated_gaussian_icdf(torch.from_numpy(mean), torch.from_numpy(u), std)
    np.testing.assert_allclose(draws, theirs.numpy(), rtol=0, atol=1e-13)
    t, v = (draws, u) if sign < 0 else (1 - draws, 1 - u)
    rate = size / std
    survival = np.exp(-rate * t - t**2 / (2 * std**2)) / (1 + t / (rate * std**2))
    if size < 1e4 or sign < 0:  # 1 - x has the digits of t where t is not below 1e-16
        np.testing.assert_allclose(survival, 1 - v, rtol=1e-5)
    assert ((draws >= 0) & (draws <= 1)).all()


@pytest.mark.parametrize("logits", [-1e200, 1e200, -1e30])
@pytest.mark.parametrize("x", X)
def test_continuous_bernoulli_at_huge_logits(logits, x):
    """-log p = |l| t - log |l|, t the distance of x from the nearer end; E[x] is that end."""
    t, end = (x, 0.0) if logits < 0 else (1 - x, 1.0)
    value = abs(logits) * t - math.log(abs(logits))
    for result in both("continuous_bernoulli_nll", (logits,), x):
        np.testing.assert_allclose(result, [value, end - x], rtol=1e-13, atol=1e-29)
