"""Densities on [0, 1] against scipy.stats, torch.distributions and integrals: neither panel."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as td

from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.mlp_vae import make_likelihood
from numpy_ref.probability import grey_distributions as left
from torch_impl.mlp_vae import make_likelihood as make_right
from torch_impl.probability import grey_distributions as right

N, L, D = 5, 3, 7
GREY = ("continuous_bernoulli", "beta", "truncated_gaussian")
C = 1e-6


def both(name, *arguments, rtol=1e-13):
    """The value of the left panel, after a comparison with the right one."""
    ours = getattr(left, name)(*arguments)
    ours = ours[0] if isinstance(ours, tuple) else ours
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    theirs = getattr(right, name)(*tensors).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=rtol)
    return ours


def density(name, *parameters):
    """p(x) of one pixel, as a function for integrate.quad."""
    arguments = [np.full((1, 1), p) for p in parameters]
    if name == "truncated_gaussian":
        arguments, std = arguments[:1], parameters[1]
        return lambda x: math.exp(
            -left.truncated_gaussian_nll(*arguments, np.array([[x]]), std)[0][0]
        )
    nll = getattr(left, f"{name}_nll")
    return lambda x: math.exp(-nll(*arguments, np.array([[x]]))[0][0])


# Values


def test_continuous_bernoulli(rng):
    """torch clips lambda to avoid 0 and 1, and has a parabola between 0.499 and 0.501."""
    logits, x = rng.normal(0, 3, (N, L, D)), rng.random((N, 1, D))
    result = both("continuous_bernoulli_nll", logits, x)
    torch_says = -td.ContinuousBernoulli(logits=torch.tensor(logits)).log_prob(torch.tensor(x))
    np.testing.assert_allclose(result, torch_says.sum(-1).numpy(), rtol=1e-6)
    mean = both("continuous_bernoulli_mean", logits)
    torch_mean = td.ContinuousBernoulli(logits=torch.tensor(logits)).mean.numpy()
    np.testing.assert_allclose(mean, torch_mean, rtol=1e-6)


def test_continuous_bernoulli_is_a_truncated_exponential():
    """p(x) is proportional to e^(l x), which SciPy has for l < 0."""
    x = np.linspace(0, 1, 21)
    for slope in (1e-3, 0.3, 0.999, 1.0, 1.001, 7.0, 300.0):
        result = [
            both("continuous_bernoulli_nll", np.array([[-slope]]), np.array([[v]])) for v in x
        ]
        scipy_says = -stats.truncexpon(b=slope, scale=1 / slope).logpdf(x)
        np.testing.assert_allclose(np.ravel(result), scipy_says, rtol=1e-12, atol=1e-13)
        mirrored = both("continuous_bernoulli_nll", np.full((21, 1), slope), 1 - x[:, None])
        np.testing.assert_allclose(mirrored, scipy_says, rtol=1e-12, atol=1e-13)


def test_the_series_and_the_closed_form_agree_at_the_limit():
    """At |l| = 1 value and mean are continuous to the last digit. On either side the two forms
    agree."""
    for sign in (-1, 1):
        logits = sign * (1 + np.array([-3, -2, -1, 0, 1, 2, 3]) * 1e-14)[:, None]
        value = left.continuous_bernoulli_nll(logits, np.full((7, 1), 0.3))[0]
        mean = left.continuous_bernoulli_mean(logits)[:, 0]
        for result, slope in ((value, mean[3] - 0.3), (mean, 0.08)):
            line = result[3] + slope * (logits[:, 0] - sign)
            np.testing.assert_allclose(result, line, rtol=0, atol=3e-16)
    values = dict.fromkeys(("series", "closed form"))
    logits = np.array([[-0.999], [-0.5], [0.7], [1.0]])
    for name, limit in (("series", 2.0), ("closed form", 0.1)):
        original, left.SERIES_LIMIT = left.SERIES_LIMIT, limit
        try:
            values[name] = (
                left.continuous_bernoulli_nll(logits, np.full((4, 1), 0.3))[0],
                left.continuous_bernoulli_mean(logits)[:, 0],
            )
        finally:
            left.SERIES_LIMIT = original
    np.testing.assert_allclose(values["series"], values["closed form"], rtol=0, atol=2e-15)


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-12, 40.0, 800.0, 1e5])
def test_continuous_bernoulli_at_extreme_logits(size):
    """At 0 it is uniform. If all mass is at one end, -log p there is -log |l|."""
    logits, x = np.array([[-size], [size]]), np.array([[0.0], [1.0]])
    expected = -math.log(size) if size > 30 else 0.0
    result = both("continuous_bernoulli_nll", logits, x)
    np.testing.assert_allclose(result, expected, rtol=1e-14, atol=1e-11 if size else 0)
    mean = both("continuous_bernoulli_mean", logits)
    at = 1 / size if size > 30 else 0.5
    np.testing.assert_allclose(mean, [[at], [1 - at]], rtol=1e-12)
    for draw in both("continuous_bernoulli_icdf", logits, np.full((2, 1), 0.25)):
        assert 0 <= draw <= 1
    tensor = torch.tensor(logits, requires_grad=True)
    right.continuous_bernoulli_nll(tensor, torch.tensor(x)).sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), mean - x, rtol=1e-9, atol=1e-15)
    half = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    right.continuous_bernoulli_nll(half, torch.tensor(x).float()).sum().backward()
    assert half.grad.isfinite().all()


def std_of(name, std):
    """The field gaussian_std, for the likelihood that has one."""
    return {"gaussian_std": std} if name == "truncated_gaussian" else {}


def test_beta(rng):
    logits, log_nu = rng.normal(0, 2, (N, L, D)), rng.normal(0, 2, (N, L, D))
    x = rng.random((N, 1, D))
    mean, nu = stats.logistic.cdf(logits), np.exp(log_nu)
    result = both("beta_nll", logits, log_nu, x, rtol=1e-12)
    y = C + (1 - 2 * C) * x
    scipy_says = -(stats.beta(mean * nu, (1 - mean) * nu).logpdf(y) + np.log(1 - 2 * C)).sum(-1)
    np.testing.assert_allclose(result, scipy_says, rtol=1e-11)
    assert np.isfinite(both("beta_nll", logits, log_nu, np.round(x))).all(), "at 0 and 1 too"


def test_truncated_gaussian(rng):
    mean, x = rng.normal(0.5, 2, (N, L, D)), rng.random((N, 1, D))
    for std in (0.02, 0.3, 1.7):
        p = stats.truncnorm(-mean / std, (1 - mean) / std, mean, std)
        # far out in the tail both lose digits of (mean / std)^2 / 2
        result = both("truncated_gaussian_nll", mean, x, std, rtol=1e-11)
        np.testing.assert_allclose(result, -p.logpdf(x).sum(-1), rtol=1e-9)
        theirs = both("truncated_gaussian_mean", mean, std, rtol=1e-10)
        middle = np.abs(mean - 0.5) < 3  # scipy integrates, and gives up beyond
        np.testing.assert_allclose(theirs[middle], p.mean()[middle], rtol=1e-6)


@pytest.mark.parametrize("mean", [-300.0, -20.0, 0.0, 0.5, 1.0, 21.0, 301.0])
@pytest.mark.parametrize("std", [0.05, 1.0, 100.0])
def test_truncated_gaussian_in_its_tails(mean, std):
    """Compared with an integral relative to the density at the nearer end."""
    argument, end = np.array([[mean]]), 0.0 if mean < 0.5 else 1.0
    x, width = np.array([[end]]), std**2 / max(abs(mean - end), 1)  # of the exponential there
    log_z = math.log(
        integrate.quad(
            lambda t: math.exp(
                -t * (t + 2 * abs(mean - end) * (-1) ** (0 < mean < 1)) / (2 * std**2)
            ),
            0,
            1,
            points=[w for w in (width, 10 * width, 100 * width, 0.5) if w < 1],
            epsabs=0,
            limit=500,
        )[0]
    )
    result = both("truncated_gaussian_nll", argument, x, std, rtol=1e-6)
    size = np.finfo(float).eps * (1 + (mean / std) ** 2)
    assert result.item() == pytest.approx(log_z, rel=1e-7, abs=4 * size)
    inside = both("truncated_gaussian_mean", argument, std, rtol=1e-6).item()
    assert 0 < inside < 1


# Integrals


PARAMETERS = {
    "continuous_bernoulli": [(-30.0,), (-1.0,), (-0.3,), (0.0,), (0.999,), (6.0,)],
    "beta": [(0.3, 1.2), (-2.0, 3.0), (1.0, 4.0), (0.0, math.log(2))],
    "truncated_gaussian": [(-0.7, 0.3), (0.0, 0.1), (0.4, 2.0), (1.3, 0.2)],
}


@pytest.mark.parametrize("name", GREY)
def test_integrals_are_one(name):
    for parameters in PARAMETERS[name]:
        p = density(name, *parameters)
        total, _ = integrate.quad(p, 0, 1, points=[1e-4, 0.01, 0.99, 0.9999], epsabs=1e-13)
        expected = 1.0
        if name == "beta":  # the squeeze leaves out what lies beyond c of either end
            mean, nu = stats.logistic.cdf(parameters[0]), math.exp(parameters[1])
            q = stats.beta(mean * nu, (1 - mean) * nu)
            expected = q.cdf(1 - C) - q.cdf(C)
            assert expected <= 1 and (expected < 1 or parameters[1] > 1)
        assert total == pytest.approx(expected, abs=1e-9)
        first, _ = integrate.quad(lambda x, p=p: x * p(x), 0, 1, epsabs=1e-12)
        if name != "beta":
            *first_arguments, last = [np.array([[parameters[0]]]), *parameters[1:]]
            claimed = both(f"{name}_mean", *first_arguments, last).item()
            assert first == pytest.approx(claimed, abs=1e-9)


def test_the_integral_of_the_bernoulli_cross_entropy():
    """It is tanh(l / 2) / l, at most 1/2, the normaliser of the continuous Bernoulli."""
    for logit in (-7.0, -0.4, 2.0):
        raw, _ = integrate.quad(lambda x: math.exp(x * logit) / (1 + math.exp(logit)), 0, 1)  # noqa: B023
        assert raw == pytest.approx(math.tanh(logit / 2) / logit, rel=1e-12) and raw < 0.5


# Sampling


def sampled(name, std=0.3):
    """Draws of one pixel for several parameters (P, outputs), the same on both panels."""
    config = MLPVAEConfig(input_dim=4000, likelihood=name, **std_of(name, std))
    parameters = np.array([p[: config.outputs] for p in PARAMETERS[name]])
    logits = np.repeat(parameters, 4000, axis=1)
    key = Key(5).fold_in(name)
    ours = make_likelihood(config).sample(logits, key)
    theirs = make_right(config).sample(torch.from_numpy(logits), key).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    means = make_likelihood(config).mean(logits)
    np.testing.assert_allclose(means, make_right(config).mean(torch.tensor(logits)), rtol=1e-10)
    return parameters, ours, means[:, 0]


@pytest.mark.parametrize("name", GREY)
def test_samples_have_the_distribution_that_they_are_drawn_from(name):
    parameters, draws, means = sampled(name)
    for pixel, draw, mean in zip(parameters, draws, means, strict=True):
        if name == "beta":
            m, nu = stats.logistic.cdf(pixel[0]), math.exp(pixel[1])
            p = stats.beta(m * nu, (1 - m) * nu)
        elif name == "continuous_bernoulli":
            slope = -abs(pixel[0]) or -1e-4
            p = stats.truncexpon(b=-slope, scale=-1 / slope)
            if pixel[0] > 0:
                draw, mean = 1 - draw, 1 - mean  # noqa: PLW2901
        else:
            p = stats.truncnorm(-pixel[0] / 0.3, (1 - pixel[0]) / 0.3, pixel[0], 0.3)
        assert stats.kstest(draw, p.cdf).pvalue > 1e-3
        assert abs(draw.mean() - mean) < 4 * p.std() / len(draw) ** 0.5
        assert p.mean() == pytest.approx(mean, abs=1e-5)
        assert draw.std() == pytest.approx(p.std(), rel=0.08)


@pytest.mark.parametrize("name", GREY)
def test_float32_draws_are_float64_draws_rounded(name):
    config = MLPVAEConfig(input_dim=50, likelihood=name, **std_of(name, 0.2))
    logits = np.linspace(-3, 3, 50 * config.outputs, dtype=np.float32)[None]
    for make, convert in ((make_likelihood, np.asarray), (make_right, torch.from_numpy)):
        model = make(config)
        single = np.asarray(model.sample(convert(logits), Key(3)))
        double = np.asarray(model.sample(convert(logits.astype(np.float64)), Key(3)))
        assert single.dtype == np.float32
        np.testing.assert_array_equal(single, double.astype(np.float32))
        assert np.asarray(model.mean(convert(logits))).dtype == np.float32
        nll = model.nll(convert(logits[None]), convert(np.full((1, 50), 0.5, np.float32)))
        assert np.asarray(nll if name and hasattr(nll, "shape") else nll[0]).dtype == np.float32


def test_samples_of_the_far_tail_are_right_where_phi_underflows():
    """With the mean 50 standard deviations outside, it is exponential with rate |mean| / std^2."""
    samples, count = sampled_tail(-5.0), 20_000
    assert samples.mean() == pytest.approx(0.1**2 / 5, rel=5 / count**0.5)
    np.testing.assert_allclose(1 - sampled_tail(6.0, flip=True), samples, atol=1e-13)


def sampled_tail(mean, flip=False):
    u = np.linspace(0, 1, 20_001)[:-1] + 0.5 / 20_000
    return both(
        "truncated_gaussian_icdf", np.full(20_000, mean), 1 - u if flip else u, 0.1, rtol=1e-8
    )
