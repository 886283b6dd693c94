"""The bound experiment: exact integrals, claims that hold, and faults that make them fail."""

import json
import math

import numpy as np
import pytest
from scipy import special

from diptych import data
from diptych.figures.style import TERMS
from diptych.lab import EXPERIMENTS, Setting, bound
from diptych.lab.bound import KS, Size
from diptych.lab.numpy_models import binarise, train_numpy_vae
from model_specs.common.key import Key
from numpy_ref.mlp_vae import MLPVAE
from numpy_ref.nn import random
from numpy_ref.probability.distributions import gaussian_kl

SMALL = Size(steps=100, images=3, repeats=3, fineness=4, checked=1)
TRUTHS = {
    "exact": "log p(x) is exact to 1e-6 nats, by a coarser grid and by scipy's dblquad",
    "ordered": "IWAE_K <= log p(x) for every K, within 4 standard errors",
    "rises": "IWAE_K rises with K",
    "unbiased": "the weights' mean is p(x), within 4 standard errors",
    "kl": "the ELBO's gap is KL(q ‖ posterior), within 4 standard errors",
    "small": "at K = 4096 less than 5 % of that gap is left",
}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture
def laboratory(digits, monkeypatch):
    def run(**changes):
        monkeypatch.setattr(bound, "QUICK", Size(**vars(SMALL) | changes))
        return EXPERIMENTS["bound"](Setting(digits, seeds=(0,), quick=True))

    return run


def test_every_claim_holds_and_the_findings_are_complete(laboratory):
    result = laboratory()
    assert result.truths == dict.fromkeys(TRUTHS.values(), True)
    assert json.loads(json.dumps(result.results, allow_nan=False)) == result.results
    (model,) = result.results["models"]
    assert model["dblquad"] < 1e-8 and model["refined"] < 1e-6
    assert len(model["bounds"]) == len(KS) == len(result.table.rows) - 1
    bound_axis, gap_axis = result.figure.axes
    lines = {"bound": bound_axis.lines[1], "gap": gap_axis.containers[0].lines[0]}
    for name, line in lines.items():
        np.testing.assert_array_equal(line.get_ydata(), [b[name] for b in model["bounds"]])


def test_the_figure_has_a_curve_for_each_of_many_seeds(laboratory):
    """There are fewer marks than seeds, so marks come again."""
    results = laboratory().results
    seeds = range(len(TERMS) + 1)
    many = results | {"models": [results["models"][0] | {"seed": seed} for seed in seeds]}
    gap_axis = bound._draw(many).axes[1]
    labels = [text.get_text() for text in gap_axis.get_legend().get_texts()]
    assert labels[:-1] == [f"seed {seed}" for seed in seeds]


def too_large(self, x, noise, log_weight=MLPVAE.log_weight):
    """Return log w + 0.1."""
    return log_weight(self, x, noise) + 0.1


def decreasing_mean(values):
    """Return a log-mean with a negative bias that grows with the number of samples."""
    return special.logsumexp(values, axis=-1) - math.log(values.shape[-1]) * 1.02


def mean_of_logs(values):
    """Return the mean of the logarithms instead of the logarithm of the mean."""
    return values.mean(-1)


def inaccurate_integral(model, x):
    return integrate_out(model, x, 4).log_p.item() + 2e-6


integrate_out = bound.integrate_out
FAULTS = {
    "exact": [("coarse", None), ("integrate_adaptively", inaccurate_integral)],
    "ordered": [("log_weight", too_large)],
    "rises": [("log_mean_exp", decreasing_mean)],
    "unbiased": [("log_weight", too_large)],
    "kl": [("log_weight", too_large)],
    "small": [("log_mean_exp", mean_of_logs)],
}


@pytest.mark.parametrize(
    ("truth", "place", "faulty"), [(t, *fault) for t, faults in FAULTS.items() for fault in faults]
)
def test_a_fault_makes_its_claim_fail(laboratory, monkeypatch, truth, place, faulty):
    changes = {"checked": 0}
    if place == "coarse":
        changes["fineness"] = 1
    elif place == "log_weight":
        monkeypatch.setattr(MLPVAE, place, faulty)
    else:
        monkeypatch.setattr(bound, place, faulty)
        changes["checked"] = int(place == "integrate_adaptively")
    assert laboratory(**changes).truths[TRUTHS[truth]] is False


# The parts against independent computations


def test_the_integral_of_a_decoder_that_ignores_z(digits):
    """Then log p(x) = log p(x|z), and the posterior is the prior."""
    x = binarise(digits.test)[:4]
    model = train_numpy_vae(digits, bound.FIELDS, seed=3, steps=30)
    model.decoder_logits.weight.data[...] = 0
    exact = bound.integrate_out(model, x, fineness=4)
    nll, _ = model.likelihood.nll(model.decode(np.zeros((1, 1, 2)))[0], x)
    (mu, logvar), _ = model.encode(x)
    np.testing.assert_allclose(exact.log_p, -nll[:, 0], rtol=1e-12)
    np.testing.assert_allclose(exact.kl, gaussian_kl(mu, logvar)[0], rtol=1e-10)
    assert exact.error.max() < 1e-10


def test_bounds_are_those_of_a_plain_loop():
    """The weights are lognormal with mean 1: exp(s n - s^2 / 2)."""
    s = 0.7
    log_w = s * random.normal(Key(4), (2, 3, KS[-1])) - s * s / 2
    log_p = np.array([-3.0, -5.0])
    rows = bound.bounds(log_w + log_p[:, None, None], log_p)
    for K, row in zip(KS, rows, strict=True):
        w = np.exp(log_w).reshape(2, -1, K).mean(-1)
        assert row["bound"] == pytest.approx((np.log(w) + log_p[:, None]).mean(), rel=1e-12)
        assert row["gap"] == pytest.approx((w - 1 - np.log(w)).mean(), rel=1e-8)
        error = math.sqrt((np.log(w).var(1, ddof=1) / w.shape[1]).sum()) / 2
        assert row["standard_error"] == pytest.approx(error, rel=1e-10)
        assert row["spread"] == pytest.approx(error * math.sqrt(w.shape[1]), rel=1e-10)
    # the gap is -E[log w] = s^2 / 2 at K = 1, and about Var(w) / (2 K) at large K
    assert rows[0]["gap"] == pytest.approx(s * s / 2, abs=5 * rows[0]["gap_error"])
    expected = math.expm1(s * s) / (2 * KS[-4])
    assert rows[-4]["gap"] == pytest.approx(expected, abs=5 * rows[-4]["gap_error"])


def test_log_weights_are_those_of_the_model(digits, monkeypatch):
    monkeypatch.setattr(bound, "KS", (1, 2, 4, 8))
    x = binarise(digits.test)[:3]
    model = train_numpy_vae(digits, bound.FIELDS, seed=0, steps=2)
    log_w = bound.log_weights(model, x, Key(1), repeats=2)
    for repeat in range(2):
        noise = model.draw_noise(Key(1).fold_in(repeat), 3, samples=8)
        np.testing.assert_allclose(log_w[:, repeat], model.log_weight(x, noise), rtol=1e-13)
