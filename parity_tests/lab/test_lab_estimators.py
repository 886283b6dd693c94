"""The estimators experiment: its claims hold, and faults make them fail."""

import json
import math

import numpy as np
import pytest

from diptych import data
from diptych.lab import EXPERIMENTS, Setting, estimators, gradients
from diptych.lab.estimators import Size
from diptych.lab.gradients import ESTIMATORS, PARTS, Moments
from diptych.lab.numpy_models import binarise, train_numpy_vae
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAENoise
from numpy_ref import score_function
from numpy_ref.mlp_vae import MLPVAE
from numpy_ref.nn import random

SMALL = Size(samples=(1, 2, 4), draws=80, reference=80)
TRUTHS = {
    "mean": "every mean is the reference, within 4 standard errors",
    "none": "where the decoder ignores z, B's encoder gradient has no variance",
    "theory": "where it ignores z, A's is the closed form, within 4 standard errors",
    "faint": "where it nearly ignores z, sd(B) <= sd(A - B) / 2, and so B's variance is below A's",
    "score": "the score function's variance is above B's at every L, ",
    "baseline": "the baseline lowers it at every L, to ",
    "slope": "the variance of A, of B and of the score function falls as 1/L",
}


@pytest.fixture
def laboratory(monkeypatch):
    monkeypatch.setattr(estimators, "QUICK", SMALL)
    setting = Setting(data.load("digits"), seeds=(0,), quick=True)
    return lambda: EXPERIMENTS["estimators"](setting)


def test_every_claim_holds_and_the_findings_are_complete(laboratory):
    result = laboratory()
    assert list(result.truths.values()) == [True] * len(TRUTHS)
    for truth, start in zip(result.truths, TRUTHS.values(), strict=True):
        assert truth.startswith(start) and "|" not in truth  # it is a cell of a Markdown table
    assert json.loads(json.dumps(result.results, allow_nan=False)) == result.results
    (model,) = result.results["models"]
    assert list(model["estimators"]) == list(ESTIMATORS)
    for estimator, rows in model["estimators"].items():
        least = 2 if estimator == "score + baseline" else 1
        assert [row["samples"] for row in rows] == [L for L in SMALL.samples if least <= L]
    assert len(result.table.rows) == len(SMALL.samples)
    assert str(result.table.columns[1].header) == "A" and len(result.figure.axes) == 2
    lines = result.figure.axes[0].get_lines()
    for estimator, line in zip(ESTIMATORS, lines, strict=False):
        variances = [row["encoder"]["variance"] for row in model["estimators"][estimator]]
        np.testing.assert_array_equal(line.get_ydata(), variances)


def mean_of_all(cost, baseline):
    """Subtract the mean of all samples, not of the others: at L = 2 it halves the gradient."""
    return cost if baseline == "none" else cost - cost.mean(1, keepdims=True)


def repeat_one_sample(self, key, batch_size, *, samples=None, first=0):
    """Return one sample L times."""
    eps = random.normal(key.fold_in("eps"), (batch_size, 1, self.config.latent_dim))
    return MLPVAENoise(np.repeat(eps, samples or 1, axis=1))


def narrow_noise(self, key, batch_size, *, samples=None, first=0):
    """Return eps with a standard deviation of 0.8."""
    shape = (batch_size, samples or 1, self.config.latent_dim)
    return MLPVAENoise(0.8 * random.normal(key.fold_in("eps"), shape))


def exchange(model, both=gradients.both_estimators):
    """Exchange the models of estimators A and B."""
    return dict(zip("BA", both(model).values(), strict=True))


def no_backward(model, x, noise, baseline):
    """Return a backward that computes no gradient."""
    return None, lambda: None


FAULTS = {
    "mean": [(score_function, "advantage", mean_of_all)],
    "none": [(gradients, "both_estimators", exchange)],
    "theory": [(MLPVAE, "draw_noise", narrow_noise)],
    "faint": [(estimators, "both_estimators", exchange)],
    "score": [(gradients, "score_function_loss", no_backward)],
    "baseline": [(score_function, "advantage", lambda c, b: c if b == "none" else 2 * c)],
    "slope": [(MLPVAE, "draw_noise", repeat_one_sample)],
}


@pytest.mark.parametrize("truth", FAULTS)
def test_a_fault_makes_its_claim_fail(laboratory, monkeypatch, truth):
    for place, name, faulty in FAULTS[truth]:
        monkeypatch.setattr(place, name, faulty)
    truths = laboratory().truths
    assert [holds for name, holds in truths.items() if name.startswith(TRUTHS[truth])] == [False]


def test_moments_are_those_of_numpy(rng):
    rows, centre = 3 + rng.normal(size=(50, 7)), rng.normal(size=7)
    moments = Moments(centre, encoder=4)
    for row in rows:
        moments.add(row)
    summary = moments.summary()
    for part, end in zip(PARTS, (4, 7), strict=True):
        bias = rows[:, :end].mean(0) - centre[:end]
        variance = rows[:, :end].var(0, ddof=1).sum()
        assert summary[part]["variance"] == pytest.approx(variance, rel=1e-12)
        assert summary[part]["bias"] == pytest.approx(np.linalg.norm(bias), rel=1e-12)
        assert summary[part]["bias_error"] == pytest.approx(math.sqrt(variance / 50), rel=1e-12)
    share = (rows[:, :4] - centre[:4]) @ centre[:4] / (centre[:4] @ centre[:4])
    assert summary["along"] == pytest.approx(share.mean(), rel=1e-12)
    assert summary["along_error"] == pytest.approx(share.std(ddof=1) / math.sqrt(50), rel=1e-12)


def test_the_closed_form_of_the_variance_without_decoder():
    """Compare with sample variances of sigma eps and (sigma mu eps + sigma^2 (eps^2 - 1)) / 2."""
    digits = data.load("digits")
    x = binarise(digits.test)[:3]
    model = train_numpy_vae(digits, estimators.FIELDS, seed=1, steps=5)
    variances = estimators.variances_without_decoder(model, x, Size((1,), 2, 2), Key(1))
    (mu, logvar), _ = model.encode(x)
    sigma, eps = np.exp(logvar / 2), random.normal(Key(2), (40_000, *mu.shape))
    in_mu, in_logvar = sigma * eps, 0.5 * (sigma * mu * eps + sigma**2 * (eps**2 - 1))
    total = (in_mu.var(0) + in_logvar.var(0)).sum() / len(x) ** 2
    assert variances["theory"] == pytest.approx(total, rel=0.02)


def test_training_depends_on_the_seed_and_lowers_the_loss():
    digits = data.load("digits")
    x = binarise(digits.valid)
    assert set(np.unique(x)) == {0.0, 1.0}
    losses = {}
    for seed, steps in ((0, 0), (0, 60), (1, 60), (0, 60)):
        model = train_numpy_vae(digits, {"hidden_dim": 16}, seed, steps)
        total = model.loss(x, model.draw_noise(Key(5), len(x)))[0].total
        assert losses.setdefault((seed, steps), total) == total
    assert losses[0, 60] < 0.8 * losses[0, 0] and losses[0, 60] != losses[1, 60]
