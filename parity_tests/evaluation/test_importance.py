"""Importance-weighted NLL: against an exact integral, and whatever the memory bound."""

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
from diptych.lab.bound import integrate_out
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


def within(one, count):
    """The bound in MiB that just holds so many samples."""
    return memory_of(one.model, count)


def exact_nll(model, x):
    """-log of the integral of p(x|z) p(z) over a one-dimensional z, by quadrature."""

    z = np.linspace(-9, 9, 100_001)
    logits, _ = model.decode(z[:, None])
    nll, _ = model.likelihood.nll(logits[None], x[None])
    return -math.log(integrate.trapezoid(np.exp(-nll[0]) * stats.norm.pdf(z), z))


@pytest.mark.parametrize("posterior", ["logvar", "sigma"])
def test_it_tends_to_the_exact_log_likelihood(posterior):
    numpy_panel = panel("numpy", posterior=posterior)
    if posterior == "sigma":  # a q that is narrow where p(z|x) is not has weights without variance
        numpy_panel.model.posterior.sigma.bias.data[...] = 1
    exact = np.mean([exact_nll(numpy_panel.model, x) for x in X])
    result = importance_weighted(numpy_panel, X, KEY, samples=20_000)
    assert result.nll == pytest.approx(exact, abs=0.01)
    assert -result.elbo > exact, "the ELBO must be a bound"


def test_an_integral_over_a_plane_is_met_within_its_own_error():
    """Two latent dimensions, 4096 samples, by the product rule of the lab."""
    one = panel("numpy", latent_dim=2, activation="tanh")
    exact = integrate_out(one.model, X, fineness=4).log_p
    sums = Sums.none(len(X))
    importance_weighted(one, X, KEY, samples=4096, sums=sums)
    deviation = np.sqrt(1 / sums.effective_samples() - 1 / 4096)
    assert deviation.max() < 0.05
    assert (np.abs(sums.nll(4096) + exact) < 4 * deviation).all()


def test_both_panels_give_the_same_numbers():
    result = [importance_weighted(panel(backend), X, KEY, samples=70) for backend in BACKENDS]
    for name, value in dataclasses.asdict(result[0]).items():
        assert value == pytest.approx(getattr(result[1], name), rel=1e-12), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fit", [1, 3, 129, 131, 300])
def test_the_memory_bound_changes_no_number(backend, fit):
    """One sample at a time, parts of an example, one example, two of them, and all at once."""
    one = panel(backend)
    bound, seen = within(one, fit), []
    a = importance_weighted(one, X, KEY, 130, bound, after=lambda sums: seen.append(sums.done))
    b = importance_weighted(one, X, KEY, samples=130)
    for name, value in dataclasses.asdict(a).items():
        assert value == pytest.approx(getattr(b, name), rel=1e-12), name
    steps = np.diff([0, *seen])
    assert steps.max() <= fit and sum(steps) == 5 * 130
    assert len(seen) == {1: 650, 3: 220, 129: 10, 131: 5, 300: 3}[fit]


@pytest.mark.parametrize("pair", ["mlp_vae", "conv_vae", "vlae"])
def test_a_model_draws_a_part_of_the_samples_as_it_draws_the_whole(pair):
    """The draws of example n, sample k are those of number n K + k, on both panels."""
    for backend in BACKENDS:
        config = pairs.get(pair).variants[""]
        model = make_panel(pair, config, backend, key=KEY, dtype="float64").model
        (whole,) = (np.asarray(a) for a in model.draw_noise(KEY, 4, samples=7))
        for n, k, count in ((0, 0, 7), (2, 3, 4), (3, 6, 1)):
            (part,) = (np.asarray(a) for a in _draw(model, KEY, 1, count, 7 * n + k))
            np.testing.assert_array_equal(part[0], whole[n, k : k + count])
        (some,) = (np.asarray(a) for a in _draw(model, KEY, 2, 7, 7))
        np.testing.assert_array_equal(some, whole[1:3])


@pytest.mark.parametrize("backend", BACKENDS)
def test_effective_samples_are_what_their_definition_says(backend):
    """By scipy's log-sum-exp over all weights at once; the bound cuts them up."""
    one = panel(backend)
    noise = one.model.draw_noise(KEY, len(X), samples=50)
    log_w = to_numpy(one.model.log_weight(one.array(X), noise))
    want = np.exp(2 * logsumexp(log_w, axis=1) - logsumexp(2 * log_w, axis=1))
    assert want.min() > 1 and want.max() < 50
    result = importance_weighted(one, X, KEY, 50, memory_mb=within(one, 7))
    assert result.effective_samples == pytest.approx(want.mean(), rel=1e-12)
    assert result.least_effective_samples == pytest.approx(want.min(), rel=1e-12)
    assert result.nll == pytest.approx(math.log(50) - logsumexp(log_w, axis=1).mean(), rel=1e-12)
    assert result.elbo == pytest.approx(log_w.mean(), rel=1e-12)


def test_effective_samples_lie_between_one_and_all():
    """And overflow nowhere: weights of e^-900 are 0 in float64."""
    sums = Sums.none(3)
    sums.add(slice(0, 3), np.array([[-900.0, -900, -900], [-900, 0, -900], [-900, -900, -2000]]))
    np.testing.assert_allclose(sums.effective_samples(), [3, 1, 2], rtol=1e-12)
    assert importance_weighted(panel("numpy"), X, KEY, 1).effective_samples == 1


def test_they_tell_how_far_the_estimate_is_from_the_truth():
    """Its variance is 1/ESS - 1/K and it lies half of that too high, here over 400 keys."""
    one, K = panel("numpy"), 300
    model, x = one.model, X[:1]
    model.posterior.logvar.bias.data[...] -= 0.5  # a q that is too narrow
    result = [importance_weighted(one, x, KEY.fold_in(i), K) for i in range(400)]
    message = np.mean([1 / f.effective_samples - 1 / K for f in result])
    errors = np.array([f.nll for f in result]) - exact_nll(model, x[0])
    assert errors.var() == pytest.approx(message, rel=0.25)
    assert errors.mean() == pytest.approx(message / 2, abs=4 * errors.std() / math.sqrt(400))


def test_more_samples_tighten_the_bound_on_average():
    """Burda et al. 2015, theorem 1, here over 200 keys."""
    model = panel("numpy")
    means = [
        np.mean([importance_weighted(model, X, KEY.fold_in(i), k).nll for i in range(200)])
        for k in (1, 4, 32)
    ]
    assert means[0] > means[1] > means[2]
    single = importance_weighted(panel("numpy"), X, KEY, samples=1)
    assert single.nll == pytest.approx(-single.elbo, rel=1e-14)


def test_units_and_errors():
    result = importance_weighted(panel("numpy"), X, KEY, samples=4)
    assert result.bits_per_dim == pytest.approx(result.nll / (6 * math.log(2)), rel=1e-14)
    assert (result.examples, result.samples) == (5, 4) and result.nll_standard_error > 0
    assert importance_weighted(panel("numpy"), X[:1], KEY, samples=2).nll_standard_error is None


class UntouchedError(Exception):
    """Raised where a model is used."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_come_before_any_work(backend, monkeypatch):
    def touched(*_, **__):
        raise UntouchedError

    one = panel(backend)
    for name in ("log_weight", "draw_noise", "encode"):
        monkeypatch.setattr(type(one.model), name, touched)
    just = within(one, 1)
    with pytest.raises(UntouchedError):
        importance_weighted(one, X, KEY, samples=4096, memory_mb=just)
    for samples in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=r"samples: got .* takes an int >= 1"):
            importance_weighted(one, X, KEY, samples=samples)
    with pytest.raises(ValueError, match="examples: got 0"):
        importance_weighted(one, X[:0], KEY, samples=4)
    for memory_mb in (0.99 * just, 0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"memory_mb: got .* takes"):
            importance_weighted(one, X, KEY, samples=1, memory_mb=memory_mb)


def test_a_weight_that_is_no_number_is_told(monkeypatch):
    one = panel("numpy")
    good = type(one.model).log_weight

    def log_weight(model, x, noise):
        result = good(model, x, noise)
        result[x[:, 0] == X[3, 0], 1] = np.nan
        return result

    monkeypatch.setattr(type(one.model), "log_weight", log_weight)
    first = int(np.flatnonzero(X[:, 0] == X[3, 0])[0])
    with pytest.raises(ValueError, match=f"example {first}: a log weight is not finite"):
        importance_weighted(one, X, KEY, samples=3)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_elbo_terms_do_not_depend_on_how_the_data_is_cut(reduction):
    one = panel("numpy", reduction=reduction)
    whole, parts = elbo_terms(one, X, KEY), elbo_terms(one, X, KEY, batch_size=2)
    assert whole == pytest.approx(parts, rel=1e-13)
    assert whole["total"] == pytest.approx(whole["recon"] + whole["kl"], rel=1e-13)


class Watched(Module):
    """A model that knows nothing but whether it is training."""

    config, dtype = MLPVAEConfig(), np.dtype("float64")

    def __init__(self):
        self.weight, self.seen = Parameter(np.zeros(1)), []

    def draw_noise(self, key, size, *, samples=1, first=0):
        self.seen.append(self.training)
        return np.zeros((size, samples))

    def loss(self, x, noise):
        self.seen.append(self.training)
        return MLPVAELoss(*np.zeros(3)), lambda: None

    def log_weight(self, x, noise):
        self.seen.append(self.training)
        return noise


def test_evaluation_is_not_training():
    """Else running statistics would move, and a batch be judged by its own."""
    watched, x = NumpyPanel(Watched(), "adam", 1e-3, 0.0), np.zeros((5, 2))
    elbo_terms(watched, x, KEY)
    importance_weighted(watched, x, KEY, 3)
    assert watched.model.seen == [False] * 4
    assert watched.model.training
