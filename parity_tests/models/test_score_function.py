"""The score-function gradient: parity, and agreement with the exact gradient."""

import itertools
import math

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative, derivative_errors
from scipy import integrate, stats
from torch import distributions as td

from diptych import weights
from diptych.parity.measures.bounds import (
    ELEMENTWISE,
    perturb,
    rounding_bound,
    sensitivity,
)
from diptych.parity.measures.errors import norm
from diptych.parity.measures.rows import normwise
from model_specs import mlp_vae as spec
from model_specs.common.key import Key
from model_specs.mlp_vae import BASELINES, MLPVAEConfig, MLPVAENoise
from numpy_ref import score_function as left_side
from numpy_ref.nn import random
from torch_impl import score_function as right_side

ODD = {"input_dim": 13, "hidden_dim": 11, "latent_dim": 3, "beta": 0.7}
KEY = Key(23)
GRID = [
    options
    for options in itertools.product(
        BASELINES, (1, 2, 5), spec.ESTIMATORS, (0.0, 0.7), spec.REDUCTIONS, spec.LIKELIHOODS
    )
    if options[:2] != ("leave_one_out", 1)
]


def batch(size, dtype="float64"):
    return random.uniform(KEY.fold_in("x"), (size, 13), dtype=dtype)


@pytest.fixture
def make_sensitive_pair(make_pair):
    """Pairs whose decoder depends strongly on z. Costs that hardly differ between draws would
    cancel with the baseline, and lose their digits."""

    def make(config, dtype="float64"):
        left, right = make_pair(config, dtype)
        for name, parameter in left.named_parameters():
            parameter.data += 0.4 * random.normal(
                KEY.fold_in(name), parameter.data.shape, dtype=parameter.data.dtype
            )
        weights.transfer(left, right)
        return left, right

    return make


def left_gradients(model, x, noise, baseline):
    loss, backward = left_side.score_function_loss(model, x, noise, baseline=baseline)
    model.zero_grad(), backward()
    return loss, {name: grad.copy() for name, grad in model.gradients().items()}


def right_gradients(model, x, noise, baseline):
    tensors = torch.from_numpy(x), MLPVAENoise(torch.from_numpy(noise.eps))
    loss = right_side.score_function_loss(model, *tensors, baseline=baseline)
    model.zero_grad()
    loss.total.backward()
    return loss, {name: grad.numpy() for name, grad in model.gradients().items()}


def condition_numbers(reference, x, noise, baseline):
    """The gradients of the float64 left panel, and their condition numbers with respect to weights
    and draws: a cost and its baseline cancel in part, and digits are lost."""
    _, truth = left_gradients(reference, x, noise, baseline)
    perturbed_gradients = []
    for i in range(3):
        twin, key = reference.astype("float64"), KEY.fold_in("perturb").fold_in(i)
        for name, parameter in twin.named_parameters():
            parameter.data = perturb(key.fold_in(name), parameter.data)
        perturbed_noise = MLPVAENoise(perturb(key.fold_in("eps"), noise.eps))
        perturbed_gradients.append(left_gradients(twin, x, perturbed_noise, baseline)[1])
    return truth, {
        name: max(1.0, *(sensitivity(array, m[name]) / norm(array) for m in perturbed_gradients))
        for name, array in truth.items()
    }


def reparameterised(model, x, noise):
    _, backward = model.loss(x, noise)
    model.zero_grad(), backward()
    return {name: grad.copy() for name, grad in model.gradients().items()}


def of_encoder(name):
    return name.startswith(("encoder", "posterior"))


# Parity


@pytest.mark.parametrize(
    ("baseline", "samples", "estimator", "beta", "reduction", "likelihood"), GRID
)
def test_parity_over_the_grid(
    make_sensitive_pair, baseline, samples, estimator, beta, reduction, likelihood
):
    config = MLPVAEConfig(
        **ODD | {"beta": beta},
        samples=samples,
        estimator=estimator,
        reduction=reduction,
        likelihood=likelihood,
    )
    left, right = make_sensitive_pair(config)
    for size in (5, 1):
        x, noise = batch(size), left.draw_noise(KEY.fold_in("draws").fold_in(size), size)
        loss, ours = left_gradients(left, x, noise, baseline)
        twin, theirs = right_gradients(right, x, noise, baseline)
        for a, b in zip(loss, twin, strict=True):
            assert abs(a - b.item()) <= 1e-13 * abs(b.item())
        for name, grad in ours.items():
            assert normwise(grad, theirs[name]) <= 1e-13, name
        # the values equal those of model.loss, to the last digit
        assert loss == left.loss(x, noise)[0]
        assert twin == right.loss(torch.from_numpy(x), MLPVAENoise(torch.from_numpy(noise.eps)))


@pytest.mark.parametrize("baseline", BASELINES)
def test_float32_stays_within_the_bound_from_dtype_and_size(make_sensitive_pair, baseline):
    """The reference and the condition numbers are those of the float64 left panel."""
    config = MLPVAEConfig(**ODD, samples=4, estimator="sampled")
    left, right = make_sensitive_pair(config, "float32")
    x, noise = batch(5, "float32"), left.draw_noise(KEY, 5)
    reference = left.astype("float64")
    wide = x.astype(float), MLPVAENoise(noise.eps.astype(float))
    truth, kappa = condition_numbers(reference, *wide, baseline)
    longest = 13 + 11 + 3 + 4 * 5 + 4 * ELEMENTWISE  # pixels, units, latents, rows
    for gradients in (left_gradients, right_gradients):
        model = left if gradients is left_gradients else right
        _, result = gradients(model, x, noise, baseline)
        for name, grad in result.items():
            assert grad.dtype == np.float32
            bound = kappa[name] * rounding_bound(np.dtype("float32"), longest)
            assert normwise(grad.astype(float), truth[name]) <= bound <= 1e-2, name


def test_decoder_gradients_are_those_of_the_loss_and_all_are_added(make_pair):
    for estimator in spec.ESTIMATORS:
        left, _ = make_pair(MLPVAEConfig(**ODD, samples=3, estimator=estimator))
        x, noise = batch(5), left.draw_noise(KEY, 5)
        path = reparameterised(left, x, noise)
        _, backward = left_side.score_function_loss(left, x, noise, baseline="leave_one_out")
        left.zero_grad(), backward()
        once = {name: grad.copy() for name, grad in left.gradients().items()}
        backward()
        for name, grad in left.gradients().items():
            np.testing.assert_array_equal(grad, 2 * once[name])
            same = np.array_equal(once[name], path[name])
            assert same is not of_encoder(name), name


# Witnesses other than the panels


def test_log_q_agrees_with_torch_distributions_and_finite_differences(rng):
    mu, logvar = rng.normal(size=(4, 3)), 0.5 * rng.normal(size=(4, 3))
    z = rng.normal(size=(4, 2, 3))
    y, _ = left_side.log_q(mu, logvar, z)
    arrays = [torch.from_numpy(a) for a in (mu, logvar, z)]
    q = td.Normal(arrays[0][:, None], torch.exp(arrays[1] / 2)[:, None])
    np.testing.assert_allclose(y, q.log_prob(arrays[2]).sum(-1).numpy(), rtol=1e-13)
    np.testing.assert_allclose(right_side.log_q(*arrays).numpy(), y, rtol=1e-13)
    errors = derivative_errors(left_side.log_q, (mu, logvar, z), {}, rng)
    assert errors.keys() == {"[0]", "[1]"} and max(errors.values()) < 1e-8


def one_latent(make_sensitive_pair, estimator):
    """A model with one latent, two images, and the exact loss as a function of the biases of both
    heads: the sum over images of E_q[-log p(x|z)] + beta E_q[log q - log p], by quadrature."""
    config = MLPVAEConfig(
        13, 11, 1, activation="tanh", beta=0.7, reduction="sum", estimator=estimator
    )
    left, _ = make_sensitive_pair(config)
    x = np.round(batch(2))
    (mu, logvar), _ = left.encode(x)

    def expected(dmu, dlogvar):
        total = 0.0
        for image, m, v in zip(x, mu[:, 0] + dmu, logvar[:, 0] + dlogvar, strict=True):
            q = stats.norm(m, math.exp(v / 2))

            def integrand(z, image=image, q=q):
                logits = left.decode(np.array([[z]]))[0][0]
                log_px = stats.bernoulli.logpmf(image, 1 / (1 + np.exp(-logits))).sum()
                kl = q.logpdf(z) - stats.norm.logpdf(z)
                return q.pdf(z) * (config.beta * kl - log_px)

            low, high = q.mean() - 10 * q.std(), q.mean() + 10 * q.std()
            total += integrate.quad(integrand, low, high, epsabs=1e-11, epsrel=1e-11)[0]
        return total

    return left, x, expected


@pytest.mark.parametrize("estimator", spec.ESTIMATORS)
def test_the_estimate_tends_to_the_gradient_of_an_integral_by_quadrature(
    make_sensitive_pair, estimator
):
    """With the midpoints of equally probable cells as draws, the estimate is a midpoint rule for
    the derivative of the integral."""
    left, x, expected = one_latent(make_sensitive_pair, estimator)
    exact = [
        derivative(lambda s: expected(s, 0), step=1e-3),
        derivative(lambda s: expected(0, s), step=1e-3),
    ]
    cells = 40_000
    eps = stats.norm.ppf((np.arange(cells) + 0.5) / cells)
    noise = MLPVAENoise(np.broadcast_to(eps[:, None], (2, cells, 1)).copy())
    for baseline in BASELINES:
        _, result = left_gradients(left, x, noise, baseline)
        heads = [result["posterior.mu.bias"].item(), result["posterior.logvar.bias"].item()]
        # the outer cells hold 2 / cells of the mass, and eps^2 is some 17 there
        np.testing.assert_allclose(heads, exact, rtol=0, atol=1e-3)
        assert min(map(abs, exact)) > 0.5


@pytest.mark.parametrize("samples", [2, 3])
def test_leave_one_out_is_unbiased(make_sensitive_pair, samples):
    """The mean is exact: each draw is one of three points with mean 0 and variance 1, so that the
    scores average to 0, and the batch has an example for every possible set of draws."""
    left, x, _ = one_latent(make_sensitive_pair, "sampled")
    points = np.array([-math.sqrt(1.5), 0.0, math.sqrt(1.5)])
    every = np.array(list(itertools.product(points, repeat=samples)))[..., None]
    same = np.repeat(x[:1], len(every), axis=0)
    _, result = left_gradients(left, same, MLPVAENoise(every), "leave_one_out")
    _, plain = left_gradients(left, same, MLPVAENoise(every), "none")
    _, exact = left_gradients(left, x[:1], MLPVAENoise(points[None, :, None]), "none")
    for name in filter(of_encoder, exact):
        np.testing.assert_allclose(plain[name] / len(every), exact[name], rtol=1e-10)
        np.testing.assert_allclose(result[name] / len(every), exact[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("estimator", spec.ESTIMATORS)
@pytest.mark.parametrize("baseline", BASELINES)
def test_the_mean_of_many_estimates_is_the_reparameterised_gradient(
    make_sensitive_pair, estimator, baseline
):
    """The means of 3000 estimates each agree within 5 standard errors, element by element, and the
    standard errors are small."""
    left, _ = make_sensitive_pair(MLPVAEConfig(**ODD, samples=4, estimator=estimator))
    x, count = batch(3), 3000
    draws = {"score": [], "path": []}
    for i in range(count):
        score, path = (left.draw_noise(KEY.fold_in(i).fold_in(way), 3) for way in draws)
        ours = left_gradients(left, x, score, baseline)[1], reparameterised(left, x, path)
        for rows, result in zip(draws.values(), ours, strict=True):
            encoder = [result[name].ravel() for name in filter(of_encoder, result)]
            rows.append(np.concatenate(encoder))
    score, path = (np.array(rows) for rows in draws.values())
    error = np.sqrt((score.var(0, ddof=1) + path.var(0, ddof=1)) / count)
    difference = np.abs(score.mean(0) - path.mean(0))
    assert (difference <= 5 * error + 1e-15).all()
    assert np.linalg.norm(error) < 0.3 * np.linalg.norm(path.mean(0))
