"""The laboratory's bound: it is ordered, what it is held against is exact, and a fault shows."""

import json
import math

import numpy as np
import pytest
from scipy import special

from diptych import data
from diptych.lab import EXPERIMENTS, Setting, bound
from diptych.lab.bound import KS, Size
from diptych.lab.trained import binary, trained
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


def test_every_truth_holds_and_the_findings_are_whole(laboratory):
    result = laboratory()
    assert result.truths == dict.fromkeys(TRUTHS.values(), True)
    assert json.loads(json.dumps(result.results, allow_nan=False)) == result.results
    (model,) = result.results["models"]
    assert model["dblquad"] < 1e-8 and model["refined"] < 1e-6
    assert len(model["bounds"]) == len(KS) == len(result.table.rows) - 1
    rising, closing = result.figure.axes
    drawn = {"bound": rising.lines[1], "gap": closing.containers[0].lines[0]}
    for name, line in drawn.items():
        np.testing.assert_array_equal(line.get_ydata(), [b[name] for b in model["bounds"]])


def heavier(self, x, noise, log_weight=MLPVAE.log_weight):
    """log w too large by 0.1."""
    return log_weight(self, x, noise) + 0.1


def falling(values):
    """A mean that loses a little more with each draw."""
    return special.logsumexp(values, axis=-1) - math.log(values.shape[-1]) * 1.02


def blurred(values):
    """A mean of logarithms, not the logarithm of a mean."""
    return values.mean(-1)


def tilted(model, x):
    return integrate_out(model, x, 4).log_p.item() + 2e-6


integrate_out = bound.integrate_out
FAULTS = {
    "exact": [("coarse", None), ("adaptively", tilted)],
    "ordered": [("log_weight", heavier)],
    "rises": [("log_mean_exp", falling)],
    "unbiased": [("log_weight", heavier)],
    "kl": [("log_weight", heavier)],
    "small": [("log_mean_exp", blurred)],
}


@pytest.mark.parametrize(
    ("truth", "place", "faulty"), [(t, *fault) for t, faults in FAULTS.items() for fault in faults]
)
def test_a_fault_is_found(laboratory, monkeypatch, truth, place, faulty):
    changes = {"checked": 0}
    if place == "coarse":
        changes["fineness"] = 1
    elif place == "log_weight":
        monkeypatch.setattr(MLPVAE, place, faulty)
    else:
        monkeypatch.setattr(bound, place, faulty)
        changes["checked"] = int(place == "adaptively")
    assert laboratory(**changes).truths[TRUTHS[truth]] is False


# Witnesses of the parts


def test_the_integral_where_it_is_known(digits):
    """A decoder that ignores z has log p(x) = log p(x|z), and the prior for its posterior."""
    x = binary(digits.test)[:4]
    model = trained(digits, bound.FIELDS, seed=3, steps=30)
    model.decoder_logits.weight.data[...] = 0
    result = bound.integrate_out(model, x, fineness=4)
    nll, _ = model.likelihood.nll(model.decode(np.zeros((1, 1, 2)))[0], x)
    (mu, logvar), _ = model.encode(x)
    np.testing.assert_allclose(result.log_p, -nll[:, 0], rtol=1e-12)
    np.testing.assert_allclose(result.kl, gaussian_kl(mu, logvar)[0], rtol=1e-10)
    assert result.error.max() < 1e-10


def test_bounds_are_those_of_a_plain_loop():
    """On weights whose mean is 1: lognormal, exp(s n - s^2 / 2)."""
    s = 0.7
    log_w = s * random.normal(Key(4), (2, 3, KS[-1])) - s * s / 2
    log_p = np.array([-3.0, -5.0])
    result = bound.bounds(log_w + log_p[:, None, None], log_p)
    for K, message in zip(KS, result, strict=True):
        w = np.exp(log_w).reshape(2, -1, K).mean(-1)
        assert message["bound"] == pytest.approx((np.log(w) + log_p[:, None]).mean(), rel=1e-12)
        assert message["gap"] == pytest.approx((w - 1 - np.log(w)).mean(), rel=1e-8)
        error = math.sqrt((np.log(w).var(1, ddof=1) / w.shape[1]).sum()) / 2
        assert message["standard_error"] == pytest.approx(error, rel=1e-10)
        assert message["spread"] == pytest.approx(error * math.sqrt(w.shape[1]), rel=1e-10)
    # E[log w] = -s^2 / 2, and Var(w) / (2 K) is what is left at large K
    assert result[0]["gap"] == pytest.approx(s * s / 2, abs=5 * result[0]["gap_error"])
    left = math.expm1(s * s) / (2 * KS[-4])
    assert result[-4]["gap"] == pytest.approx(left, abs=5 * result[-4]["gap_error"])


def test_log_weights_are_the_model_s_own_draw_by_draw(digits, monkeypatch):
    monkeypatch.setattr(bound, "KS", (1, 2, 4, 8))
    x = binary(digits.test)[:3]
    model = trained(digits, bound.FIELDS, seed=0, steps=2)
    result = bound.log_weights(model, x, Key(1), repeats=2)
    for repeat in range(2):
        noise = model.draw_noise(Key(1).fold_in(repeat), 3, samples=8)
        np.testing.assert_allclose(result[:, repeat], model.log_weight(x, noise), rtol=1e-13)
