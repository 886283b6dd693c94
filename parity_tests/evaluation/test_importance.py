"""Importance-weighted NLL: against exact integrals, and independent of the memory bound."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp

from diptych import pairs
from diptych.arrays import to_numpy
from diptych.evaluation.elbo import elbo_terms
from diptych.evaluation.importance import Sums, _draw, importance_weighted
from diptych.evaluation.memory import memory_of
from diptych.lab.integral import integrate_out
from diptych.panels import BACKENDS, NumpyPanel, make_panel
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig, MLPVAELoss
from numpy_ref.nn import random
from numpy_ref.nn.module import Module, Parameter

KEY = Key(41)
CONFIG = MLPVAEConfig(input_dim=6, hidden_dim=7, latent_dim=1, init="torch")
X = np.round(random.uniform(KEY, (5, 6)))


def panel(backend, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    return make_panel("mlp_vae", config, backend, key=KEY, dtype="float64")


def bound_for(samples, panel):
    """Return the smallest memory bound in MiB that allows so many samples at a time."""
    return memory_of(panel.model, samples)


def exact_nll(model, x):
    """Integrate p(x|z) p(z) over a one-dimensional z by quadrature; return -log of it."""
    z = np.linspace(-9, 9, 100_001)
    logits, _ = model.decode(z[:, None])
    nll, _ = model.likelihood.nll(logits[None], x[None])
    return -math.log(integrate.trapezoid(np.exp(-nll[0]) * stats.norm.pdf(z), z))


@pytest.mark.parametrize("posterior", ["logvar", "sigma"])
def test_the_nll_converges_to_the_exact_one(posterior):
    numpy_panel = panel("numpy", posterior=posterior)
    if posterior == "sigma":  # a q narrower than p(z|x) has weights of infinite variance
        numpy_panel.model.posterior.sigma.bias.data[...] = 1
    exact = np.mean([exact_nll(numpy_panel.model, x) for x in X])
    result = importance_weighted(numpy_panel, X, KEY, samples=20_000)
    assert result.nll == pytest.approx(exact, abs=0.01)
    assert -result.elbo > exact, "the ELBO is not a bound"


def test_the_nll_agrees_with_an_integral_over_two_dimensions():
    """The integral is computed on the grid of the laboratory; 4096 samples."""
    small = panel("numpy", latent_dim=2, activation="tanh")
    exact = integrate_out(small.model, X, fineness=4).log_p
    sums = Sums.empty(len(X))
    importance_weighted(small, X, KEY, samples=4096, sums=sums)
    deviation = np.sqrt(1 / sums.effective_samples() - 1 / 4096)
    assert deviation.max() < 0.05
    assert (np.abs(sums.nll(4096) + exact) < 4 * deviation).all()


def test_both_panels_give_the_same_evaluation():
    left, right = [importance_weighted(panel(backend), X, KEY, samples=70) for backend in BACKENDS]
    for name, value in dataclasses.asdict(left).items():
        assert value == pytest.approx(getattr(right, name), rel=1e-12), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("samples", [1, 3, 129, 131, 300])
def test_the_memory_bound_does_not_change_the_result(backend, samples):
    """The bounds allow one sample, a part of an example, one example, or two at a time."""
    small = panel(backend)
    bound, progress = bound_for(samples, small), []
    a = importance_weighted(
        small, X, KEY, 130, bound, after=lambda sums: progress.append(sums.done)
    )
    b = importance_weighted(small, X, KEY, samples=130)
    for name, value in dataclasses.asdict(a).items():
        assert value == pytest.approx(getattr(b, name), rel=1e-12), name
    steps = np.diff([0, *progress])
    assert steps.max() <= samples and sum(steps) == 5 * 130
    assert len(progress) == {1: 650, 3: 220, 129: 10, 131: 5, 300: 3}[samples]


@pytest.mark.parametrize("pair", ["mlp_vae", "conv_vae", "vlae"])
def test_noise_drawn_in_parts_is_that_of_one_draw(pair):
    """Sample k of example n is draw number n K + k, on both panels."""
    for backend in BACKENDS:
        config = pairs.get(pair).variants[""]
        model = make_panel(pair, config, backend, key=KEY, dtype="float64").model
        (whole,) = (np.asarray(a) for a in model.draw_noise(KEY, 4, samples=7))
        for n, k, count in ((0, 0, 7), (2, 3, 4), (3, 6, 1)):
            (part,) = (np.asarray(a) for a in _draw(model, KEY, 1, count, 7 * n + k))
            np.testing.assert_array_equal(part[0], whole[n, k : k + count])
        (pair_of_examples,) = (np.asarray(a) for a in _draw(model, KEY, 2, 7, 7))
        np.testing.assert_array_equal(pair_of_examples, whole[1:3])


@pytest.mark.parametrize("backend", BACKENDS)
def test_effective_samples_are_those_of_the_definition(backend):
    """Compare with scipy's log-sum-exp over all weights at once."""
    small = panel(backend)
    noise = small.model.draw_noise(KEY, len(X), samples=50)
    log_w = to_numpy(small.model.log_weight(small.array(X), noise))
    expected = np.exp(2 * logsumexp(log_w, axis=1) - logsumexp(2 * log_w, axis=1))
    assert expected.min() > 1 and expected.max() < 50
    result = importance_weighted(small, X, KEY, 50, memory_mb=bound_for(7, small))
    assert result.effective_samples == pytest.approx(expected.mean(), rel=1e-12)
    assert result.least_effective_samples == pytest.approx(expected.min(), rel=1e-12)
    assert result.nll == pytest.approx(math.log(50) - logsumexp(log_w, axis=1).mean(), rel=1e-12)
    assert result.elbo == pytest.approx(log_w.mean(), rel=1e-12)


def test_effective_samples_are_between_1_and_k():
    """Weights of e^-900, which are 0 in float64, are no problem."""
    sums = Sums.empty(3)
    sums.add(slice(0, 3), np.array([[-900.0, -900, -900], [-900, 0, -900], [-900, -900, -2000]]))
    np.testing.assert_allclose(sums.effective_samples(), [3, 1, 2], rtol=1e-12)
    assert importance_weighted(panel("numpy"), X, KEY, 1).effective_samples == 1


def test_effective_samples_predict_variance_and_bias_of_the_nll():
    """The variance is about 1/ESS - 1/K and the bias half of it, here over 400 keys."""
    small, K = panel("numpy"), 300
    model, x = small.model, X[:1]
    model.posterior.logvar.bias.data[...] -= 0.5  # a q that is too narrow
    results = [importance_weighted(small, x, KEY.fold_in(i), K) for i in range(400)]
    variance = np.mean([1 / result.effective_samples - 1 / K for result in results])
    errors = np.array([result.nll for result in results]) - exact_nll(model, x[0])
    assert errors.var() == pytest.approx(variance, rel=0.25)
    assert errors.mean() == pytest.approx(variance / 2, abs=4 * errors.std() / math.sqrt(400))


def test_more_samples_tighten_the_bound_on_average():
    """Check theorem 1 of Burda et al. (2015) over 200 keys."""
    model = panel("numpy")
    means = [
        np.mean([importance_weighted(model, X, KEY.fold_in(i), k).nll for i in range(200)])
        for k in (1, 4, 32)
    ]
    assert means[0] > means[1] > means[2]
    single = importance_weighted(panel("numpy"), X, KEY, samples=1)
    assert single.nll == pytest.approx(-single.elbo, rel=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("samples", [1, 4])
def test_every_number_of_an_evaluation_by_its_definition(backend, samples):
    """Computed from the log weights of each example and sample, at two numbers of examples.

    The standard error of the mean over N examples is std / sqrt(N), with N - 1 in the variance.
    """
    small = panel(backend)
    for count in (2, 5):
        x = X[:count]
        noise = small.model.draw_noise(KEY, count, samples=samples)
        log_w = to_numpy(small.model.log_weight(small.array(x), noise))
        nll = [-math.log(np.mean(np.exp(row))) for row in log_w]
        mean = sum(nll) / count
        variance = sum((value - mean) ** 2 for value in nll) / (count - 1)
        result = importance_weighted(small, x, KEY, samples=samples)
        assert (result.examples, result.samples) == (count, samples)
        assert result.nll == pytest.approx(mean, rel=1e-12)
        assert result.nll_standard_error == pytest.approx(math.sqrt(variance / count), rel=1e-11)
        assert result.elbo == pytest.approx(np.mean(log_w), rel=1e-12)
        assert result.bits_per_dim == pytest.approx(mean / math.log(2) / 6, rel=1e-12)


def test_one_example_has_no_standard_error():
    assert importance_weighted(panel("numpy"), X[:1], KEY, samples=2).nll_standard_error is None


def test_the_standard_error_is_the_spread_of_the_estimate_over_data_sets():
    """Estimates from 300 sets of 20 examples vary by about the standard error of one of them."""
    small, generator = panel("numpy"), np.random.default_rng(5)
    x = np.round(random.uniform(KEY.fold_in("population"), (400, 6)))
    log_w = small.model.log_weight(x, small.model.draw_noise(KEY, 400, samples=3))
    nll = math.log(3) - logsumexp(log_w, axis=1)
    means = [nll[generator.choice(400, 20)].mean() for _ in range(300)]
    error = importance_weighted(small, x[:20], KEY, samples=3).nll_standard_error
    assert error == pytest.approx(np.std(means), rel=0.4)


class UntouchedError(Exception):
    """Raised when a model is used."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_invalid_arguments_are_refused_before_the_model_is_used(backend, monkeypatch):
    def fail(*_, **__):
        raise UntouchedError

    small = panel(backend)
    for name in ("log_weight", "draw_noise", "encode"):
        monkeypatch.setattr(type(small.model), name, fail)
    minimum = bound_for(1, small)
    with pytest.raises(UntouchedError):
        importance_weighted(small, X, KEY, samples=4096, memory_mb=minimum)
    for samples in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=r"samples: got .* takes an int >= 1"):
            importance_weighted(small, X, KEY, samples=samples)
    with pytest.raises(ValueError, match="examples: got 0"):
        importance_weighted(small, X[:0], KEY, samples=4)
    for memory_mb in (0.99 * minimum, 0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"memory_mb: got .* takes"):
            importance_weighted(small, X, KEY, samples=1, memory_mb=memory_mb)


def test_a_weight_that_is_not_finite_is_an_error(monkeypatch):
    small = panel("numpy")
    original = type(small.model).log_weight

    def log_weight(model, x, noise):
        log_w = original(model, x, noise)
        log_w[x[:, 0] == X[3, 0], 1] = np.nan
        return log_w

    monkeypatch.setattr(type(small.model), "log_weight", log_weight)
    first = int(np.flatnonzero(X[:, 0] == X[3, 0])[0])
    with pytest.raises(ValueError, match=f"example {first}: a log weight is not finite"):
        importance_weighted(small, X, KEY, samples=3)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_elbo_terms_do_not_depend_on_the_batch_size(reduction):
    small = panel("numpy", reduction=reduction)
    whole, parts = elbo_terms(small, X, KEY), elbo_terms(small, X, KEY, batch_size=2)
    assert whole == pytest.approx(parts, rel=1e-13)
    assert whole["total"] == pytest.approx(whole["recon"] + whole["kl"], rel=1e-13)


class RecordingModel(Module):
    """A model that records whether it is in training mode at each call."""

    config, dtype = MLPVAEConfig(), np.dtype("float64")

    def __init__(self):
        self.weight, self.modes = Parameter(np.zeros(1)), []

    def draw_noise(self, key, size, *, samples=1, first=0):
        self.modes.append(self.training)
        return np.zeros((size, samples))

    def loss(self, x, noise):
        self.modes.append(self.training)
        return MLPVAELoss(*np.zeros(3)), lambda: None

    def log_weight(self, x, noise):
        self.modes.append(self.training)
        return noise


def test_models_are_evaluated_in_evaluation_mode():
    """In training mode batch norm would update its running statistics."""
    recording, x = NumpyPanel(RecordingModel(), "adam", 1e-3, 0.0), np.zeros((5, 2))
    elbo_terms(recording, x, KEY)
    importance_weighted(recording, x, KEY, 3)
    assert recording.model.modes == [False] * 4
    assert recording.model.training
