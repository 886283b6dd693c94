"""Importance-weighted NLL: against an exact integral, and whatever the memory bound."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import integrate, stats

from diptych.evaluation import elbo_terms
from diptych.importance import importance_weighted
from diptych.panels import BACKENDS, NumpyPanel, make_panel
from model_specs.key import Key
from model_specs.mlp_vae import MLPVAEConfig, MLPVAELoss
from numpy_ref import random
from numpy_ref.module import Module, Parameter

KEY = Key(41)
CONFIG = MLPVAEConfig(input_dim=6, hidden_dim=7, latent_dim=1, init="torch")
X = np.round(random.uniform(KEY, (5, 6)))


def panel(backend, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    return make_panel("mlp_vae", config, backend, key=KEY, dtype="float64")


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
    found = importance_weighted(numpy_panel, X, KEY, samples=20_000)
    assert found.nll == pytest.approx(exact, abs=0.01)
    assert -found.elbo > exact, "the ELBO must be a bound"


def test_both_panels_give_the_same_numbers():
    found = [importance_weighted(panel(backend), X, KEY, samples=70) for backend in BACKENDS]
    for name, value in dataclasses.asdict(found[0]).items():
        assert value == pytest.approx(getattr(found[1], name), rel=1e-12), name


@pytest.mark.parametrize("memory_mb", [0.05, 0.2, 50])
def test_the_memory_bound_changes_no_number(memory_mb):
    a = importance_weighted(panel("numpy"), X, KEY, samples=130, memory_mb=memory_mb)
    b = importance_weighted(panel("numpy"), X, KEY, samples=130)
    assert a.nll == pytest.approx(b.nll, rel=1e-14) and a.elbo == pytest.approx(b.elbo, rel=1e-14)


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
    found = importance_weighted(panel("numpy"), X, KEY, samples=4)
    assert found.bits_per_dim == pytest.approx(found.nll / (6 * math.log(2)), rel=1e-14)
    assert (found.examples, found.samples) == (5, 4) and found.nll_standard_error > 0
    with pytest.raises(ValueError, match="samples"):
        importance_weighted(panel("numpy"), X, KEY, samples=0)
    for memory_mb in (1e-3, 0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"memory_mb: got .* takes"):
            importance_weighted(panel("numpy"), X, KEY, samples=64, memory_mb=memory_mb)
    assert importance_weighted(panel("numpy"), X[:1], KEY, samples=2).nll_standard_error is None


def test_progress_counts_every_pair_once():
    counted = []
    importance_weighted(panel("numpy"), X, KEY, 130, memory_mb=0.1, progress=counted.append)
    assert sum(counted) == 5 * 130 and len(counted) > 3


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
