"""Likelihoods of grey images: what is measured of densities, and dequantisation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.lab_runs import broken, check_findings, few, scale, tiny
from scipy import integrate, stats

from diptych.data import Split
from diptych.lab import likelihoods
from diptych.lab.models import dequantised, levels
from model_specs.common.key import Key

RAW, CUT = likelihoods.RAW, likelihoods.CUT
AFTER = "Bernoulli, normalised after"


def right():
    """Results as theory has them."""
    nll = dict.fromkeys(likelihoods.ROWS, -60.0) | {RAW: 29.0, AFTER: -36.0}
    ends = {name: [1.0, 1.0] for name in likelihoods.ROWS}
    ends |= {RAW: [0.2, 0.5], "Gaussian": [0.4, 0.99], "Beta": [0.97, 1.0]}
    result = {
        name: {"nll": scale(nll[name]), "integral": ends[name], "bits_per_dim": [2.5, 2.6]}
        for name in likelihoods.ROWS
    }
    result[RAW]["bits_per_dim"] = None
    return {"levels": 17, "pixels": 64, "found": result, "least_gain_of_the_cut": [0.1, 0.2]}


def put(name, field, value):
    def change(results):
        results["found"][name][field] = value

    return change


def test_all_truths_hold_of_what_is_right():
    assert all(likelihoods.truths(right()).values())


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        ("each normalised density integrates to 1", put(CUT, "integral", [0.99, 1.0])),
        ("each normalised density integrates to 1", put(AFTER, "integral", [1.0, 1.01])),
        ("the Beta, squeezed", put("Beta", "integral", [0.99, 1.001])),
        ("the Bernoulli's cross-entropy", put(RAW, "integral", [0.4, 1.0])),
        ("the Gaussian to less", put("Gaussian", "integral", [0.4, 1.0])),
        ("normalising the Bernoulli", put(AFTER, "nll", [-10.0, -36.0, -36.0])),
        ("the cut only ever raises", lambda r: r["least_gain_of_the_cut"].append(-1e-3)),
        ("training with the normaliser", put("continuous Bernoulli", "nll", scale(-30))),
        ("every bound beats the uniform", put("Beta", "bits_per_dim", [2.5, 4.1])),
    ],
)
def test_each_truth_can_fail(truth, change):
    (name,) = (name for name in likelihoods.truths(right()) if name.startswith(truth))
    assert broken(likelihoods.truths, right(), name, change)


def test_the_experiment_and_plants_in_what_it_measures(monkeypatch, tmp_path):
    """A density that is off by 1 %, and a cut that is none, are found on models barely trained."""
    monkeypatch.setattr(likelihoods, "QUICK_STEPS", 1)
    findings = likelihoods.run(tiny())
    check_findings("likelihoods", findings, tmp_path)
    message = dict(findings.truths)
    whole = "each normalised density integrates to 1 over [0, 1]"
    cut = "the cut only ever raises the Gaussian's density"
    assert all(
        message[name] for name in message if name.split()[0] in ("each", "the", "normalising")
    )

    density, judged = likelihoods._density, likelihoods._judged
    monkeypatch.setattr(likelihoods, "_density", lambda *given: 1.01 * density(*given))
    names = {"gaussian": "truncated_gaussian", "truncated_gaussian": "gaussian"}
    monkeypatch.setattr(likelihoods, "_judged", lambda p, n: judged(p, names.get(n, n)))
    planted = likelihoods.run(tiny()).truths
    assert not planted[whole] and not planted[cut]


def test_dequantised_images_lie_in_their_cells():
    data = few()
    assert levels(data) == 17
    key = Key(3)
    noisy = dequantised(data, key)
    k = np.rint(data.test.x * 16)
    u = noisy.test.x * 17 - k
    assert u.min() > -1e-5 and u.max() < 1 + 1e-5
    assert stats.kstest(u.ravel(), stats.uniform.cdf).pvalue > 1e-3
    copies = len(noisy.train) // len(data.train)
    assert copies > 1 and len(np.unique(noisy.train.x[:: len(data.train), 0])) == copies
    np.testing.assert_array_equal(noisy.train.y, np.tile(data.train.y, copies))
    np.testing.assert_array_equal(dequantised(data, key).valid.x, noisy.valid.x)
    assert (dequantised(data, Key(4)).valid.x != noisy.valid.x).any()


def test_images_without_grey_are_refused():
    data = few()
    black = replace(data, train=Split(np.round(data.train.x)))
    odd = replace(data, train=Split(np.sqrt(data.train.x)))
    for bad in (black, odd):
        with pytest.raises(ValueError, match=r"data: got digits, takes grey images of 17 or 256"):
            levels(bad)


def test_a_density_s_nats_bound_those_of_the_levels():
    """Theis et al. (2016), level by level, for a density that is steep."""
    p = stats.truncnorm(-2, 8, loc=0.2, scale=0.1)
    chances = np.diff(p.cdf(np.arange(18) / 17))
    assert chances.sum() == pytest.approx(1)
    for k, chance in enumerate(chances):
        mean, _ = integrate.quad(lambda u, k=k: -p.logpdf((k + u) / 17), 0, 1)
        assert mean + math.log(17) >= -math.log(chance)


def test_colours_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes images of one channel"):
        likelihoods.run(replace(tiny(), data=replace(few(), image_shape=(4, 4, 4))))
