"""The Gaussian of learned variances against torch, scipy and mpmath, and the floor of sigma."""

import math
from itertools import product

import mpmath as mp
import numpy as np
import pytest
import torch
from helpers.floored_sigma import floored_sigma
from scipy import integrate, stats
from torch import distributions as td

from model_specs.common.key import Key
from numpy_ref.probability import distributions as left
from torch_impl.probability import distributions as right

N, L, D = 5, 3, 7
FLOORS = (None, -9.0, 0.4)


def both(mean, logvar, x, floor):
    """(nll, gradients of mean and logvar) of the left panel, and of the right one."""
    nll, vjp = left.gaussian_learned_nll(mean, logvar, x, floor)
    tensors = [torch.tensor(a, requires_grad=True) for a in (mean, logvar)]
    theirs = right.gaussian_learned_nll(*tensors, torch.tensor(x), floor)
    theirs.sum().backward()
    ours = nll, *vjp(np.ones_like(nll))
    return ours, (theirs.detach().numpy(), *(t.grad.numpy() for t in tensors))


def arguments(rng, dtype="float64"):
    arrays = rng.normal(size=(N, L, D)), 2 * rng.normal(size=(N, L, D)), rng.random((N, 1, D))
    return [a.astype(dtype) for a in arrays]


def by_mpmath(mean, logvar, x, floor):
    """The value and both gradients of one pixel, in 50 digits."""
    with mp.workdps(50):
        mean, x, floor = mp.mpf(mean), mp.mpf(x), -mp.inf if floor is None else mp.mpf(floor)

        def nll(m, v):
            var = mp.exp(v) + mp.exp(floor)
            return (x - m) ** 2 / (2 * var) + mp.log(2 * mp.pi * var) / 2

        var = mp.exp(logvar) + mp.exp(floor)
        dlogvar = (1 - (x - mean) ** 2 / var) / 2 * mp.exp(logvar) / var
        return [float(v) for v in (nll(mean, logvar), (mean - x) / var, dlogvar)]


@pytest.mark.parametrize("floor", FLOORS)
def test_the_nll_is_that_of_torch_and_scipy(rng, floor):
    mean, logvar, x = arguments(rng)
    std = floored_sigma(logvar, floor)
    torch_says = td.Normal(torch.tensor(mean), torch.tensor(std)).log_prob(torch.tensor(x))
    for result, _, _ in both(mean, logvar, x, floor):
        np.testing.assert_allclose(result, -torch_says.sum(-1).numpy(), rtol=1e-13)
        np.testing.assert_allclose(result, -stats.norm.logpdf(x, mean, std).sum(-1), rtol=1e-13)


@pytest.mark.parametrize("floor", FLOORS)
def test_the_gradients_are_those_of_torchs_log_prob(rng, floor):
    mean, logvar, x = arguments(rng)
    m, v = (torch.tensor(a, requires_grad=True) for a in (mean, logvar))
    std = (v.exp() + (0 if floor is None else math.exp(floor))).sqrt()
    (-td.Normal(m, std).log_prob(torch.tensor(x)).sum()).backward()
    for _, dmean, dlogvar in both(mean, logvar, x, floor):
        np.testing.assert_allclose(dmean, m.grad.numpy(), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(dlogvar, v.grad.numpy(), rtol=1e-13, atol=1e-13)


def test_equal_variances_are_the_gaussian_of_a_fixed_std(rng):
    mean, _, x = arguments(rng)
    expected, _ = left.gaussian_nll(mean, x, 0.7)
    for result, _, _ in both(mean, np.full_like(mean, 2 * math.log(0.7)), x, None):
        np.testing.assert_allclose(result, expected, rtol=1e-13)


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize(("mean", "logvar"), [(0.2, -12.0), (-1.0, -9.0), (0.5, 0.0), (3.0, 4.0)])
def test_the_density_of_a_pixel_integrates_to_one(mean, logvar, floor):
    def density(x):
        pixel = (np.array([[v]]) for v in (mean, logvar, x))
        return math.exp(-left.gaussian_learned_nll(*pixel, floor)[0][0])

    std = floored_sigma(logvar, floor)
    ends = [mean + k * std for k in (-40, -8, -1, 1, 8, 40)]
    total, _ = integrate.quad(density, ends[0], ends[-1], points=ends[1:-1], epsabs=1e-13)
    assert total == pytest.approx(1, abs=1e-11)
    second, _ = integrate.quad(
        lambda x: (x - mean) ** 2 * density(x), ends[0], ends[-1], points=ends[1:-1], epsabs=0
    )
    assert second == pytest.approx(std**2, rel=1e-9)


EXTREMES = list(
    product(
        (0.3, 0.3 + 1e-9, -2e3, 1e150),  # the mean; x is 0.3
        (-700.0, -40.0, -9.0, -8.999, 3.0, 690.0, 1e6),
        (-9.0, 0.4),
    )
)


@pytest.mark.parametrize(("mean", "logvar", "floor"), EXTREMES)
def test_extreme_outputs_by_mpmath(mean, logvar, floor):
    """At the floor and below it, for a log variance of a million, and for a mean of 1e150."""
    expected = by_mpmath(mean, logvar, 0.3, floor)
    pixel = (np.array([v]) for v in (mean, logvar, 0.3))
    for result in both(*pixel, floor):
        flat = [float(np.ravel(part)[0]) for part in result]
        assert np.isfinite(flat).all()
        # the exponent log(sigma^2) / 2 is rounded to eps times its size
        np.testing.assert_allclose(flat, expected, rtol=2e-13, atol=1e-300)


@pytest.mark.parametrize("logvar", [-1400.0, -700.0, -177.0])
def test_without_a_floor_the_density_of_a_constant_pixel_has_no_bound(logvar):
    """nll = (logvar + log 2 pi) / 2 at x = mean; with a floor, at least (floor + log 2 pi) / 2."""
    x, log_2pi = np.array([[0.3]]), math.log(2 * math.pi)
    for result, _, dlogvar in both(x, np.array([[logvar]]), x, None):
        assert result == pytest.approx((logvar + log_2pi) / 2, rel=1e-15) and dlogvar == 0.5
    for result, _, dlogvar in both(x, np.array([[logvar]]), x, -9.0):
        assert result == pytest.approx((-9 + log_2pi) / 2, rel=1e-15) and 0 <= dlogvar < 1e-70


@pytest.mark.parametrize("floor", [-9.0, 0.4])
def test_the_floor_adds_the_two_variances(floor):
    logvar = floor + np.array([-800.0, -30.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 9.0, 30.0, 800.0])
    y, vjp = left.floor_logvar(logvar, floor)
    tensor = torch.tensor(logvar, requires_grad=True)
    theirs = right.floor_logvar(tensor, floor)
    theirs.sum().backward()
    np.testing.assert_allclose(theirs.detach().numpy(), y, rtol=1e-15)
    np.testing.assert_allclose(tensor.grad.numpy(), vjp(np.ones(10)), rtol=2e-13)
    np.testing.assert_allclose(y, np.logaddexp(logvar, floor), rtol=1e-15)
    assert (y >= floor).all() and (y >= logvar).all() and (np.diff(y) >= 0).all()
    assert y[4] == floor + math.log(2) and vjp(np.ones(10))[4] == 0.5
    np.testing.assert_allclose(vjp(np.full(10, 3.0)), 3 * stats.logistic.cdf(logvar - floor))
    for panel, array in ((left, logvar), (right, tensor)):
        result = panel.floor_logvar(array, None)
        assert (result[0] if panel is left else result) is array


def test_the_best_variance_is_the_squared_error():
    """The gradient of logvar is 0 where sigma^2 = (x - mean)^2, with a floor below it too."""
    error = np.array([[0.02, 0.5, 3.0]])
    for floor in (None, -9.0):
        floor_var = 0 if floor is None else math.exp(floor)
        best = np.log(error**2 - floor_var)
        for shift in (-1e-3, 0, 1e-3):
            for _, _, dlogvar in both(error, best + shift, np.zeros((1, 3)), floor):
                if shift == 0:
                    np.testing.assert_allclose(dlogvar, 0, atol=2e-15)
                else:
                    assert (np.sign(dlogvar) == np.sign(shift)).all()


@pytest.mark.parametrize("floor", FLOORS)
def test_float32_is_within_its_rounding_of_float64(rng, floor):
    """An exponent l / 2 of size |l| / 2 is rounded by eps |l| / 4, and its square by twice that."""
    single = arguments(rng, "float32")
    (exact, *_), _ = both(*(a.astype(np.float64) for a in single), floor)
    mean, logvar, x = (a.astype(np.float64) for a in single)
    size = np.abs(logvar) + abs(floor or 0)
    squares = 0.5 * ((x - mean) / floored_sigma(logvar, floor)) ** 2
    bound = np.finfo(np.float32).eps * ((8 + size) * squares + size + D).sum(-1)
    for result, dmean, dlogvar in both(*single, floor):
        assert {result.dtype, dmean.dtype, dlogvar.dtype} == {np.dtype("float32")}
        assert (np.abs(result - exact) <= bound).all()


@pytest.mark.parametrize("floor", FLOORS)
def test_draws_have_the_learned_mean_and_sigma(floor):
    """The same draws on both panels, of three pixels with 4000 draws each."""
    means, logvars = np.array([-1.0, 0.2, 4.0]), np.array([-12.0, -2.0, 1.5])
    logits = np.concatenate([np.tile(a, (4000, 1)) for a in (means, logvars)], 1)
    key = Key(5).fold_in("learned")
    model, twin = left.LearnedGaussian(floor), right.LearnedGaussian(floor)
    draws, theirs = model.sample(logits, key), twin.sample(torch.from_numpy(logits), key).numpy()
    np.testing.assert_allclose(draws, theirs, rtol=1e-13, atol=1e-15)
    for draw, mean, std in zip(draws.T, means, floored_sigma(logvars, floor), strict=True):
        assert stats.kstest(draw, stats.norm(mean, std).cdf).pvalue > 1e-3
    for panel, given in ((model, logits), (twin, torch.from_numpy(logits))):
        np.testing.assert_array_equal(np.asarray(panel.mean(given)), logits[:, :3])
    single = model.sample(logits.astype(np.float32), key)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, draws, rtol=1e-5, atol=1e-5)
    single = twin.sample(torch.from_numpy(logits).float(), key)
    assert single.dtype == torch.float32
