"""The likelihoods experiment: claims that can fail, faults in densities, and dequantisation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.quick_experiments import (
    check_findings,
    fails_after,
    few_digits,
    over_seeds,
    quick_setting,
)
from scipy import integrate, stats

from diptych.data import Split
from diptych.lab import densities, likelihoods
from diptych.lab.models import dequantise, grey_levels
from model_specs.common.key import Key

RAW, CUT = likelihoods.RAW, likelihoods.CUT
AFTER = "Bernoulli, normalised after"


def expected_results():
    """Return results for which every claim holds."""
    nll = dict.fromkeys(likelihoods.ROWS, -60.0) | {RAW: 29.0, AFTER: -36.0}
    ends = {name: [1.0, 1.0] for name in likelihoods.ROWS}
    ends |= {RAW: [0.2, 0.5], "Gaussian": [0.4, 0.99], "Beta": [0.97, 1.0]}
    entries = {
        name: {"nll": over_seeds(nll[name]), "integral": ends[name], "bits_per_dim": [2.5, 2.6]}
        for name in likelihoods.ROWS
    }
    entries[RAW]["bits_per_dim"] = None
    return {
        "levels": 17,
        "pixels": 64,
        "by_likelihood": entries,
        "least_gain_of_the_cut": [0.1, 0.2],
    }


def set_value(name, field, value):
    def change(results):
        results["by_likelihood"][name][field] = value

    return change


def test_all_claims_hold_for_the_expected_results():
    assert all(likelihoods.truths(expected_results()).values())


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        ("each normalised density integrates to 1", set_value(CUT, "integral", [0.99, 1.0])),
        ("each normalised density integrates to 1", set_value(AFTER, "integral", [1.0, 1.01])),
        ("the Beta, squeezed", set_value("Beta", "integral", [0.99, 1.001])),
        ("the Bernoulli's cross-entropy", set_value(RAW, "integral", [0.4, 1.0])),
        ("the Gaussian to less", set_value("Gaussian", "integral", [0.4, 1.0])),
        ("normalising the Bernoulli", set_value(AFTER, "nll", [-10.0, -36.0, -36.0])),
        ("the cut only ever raises", lambda r: r["least_gain_of_the_cut"].append(-1e-3)),
        ("training with the normaliser", set_value("continuous Bernoulli", "nll", over_seeds(-30))),
        ("every bound beats the uniform", set_value("Beta", "bits_per_dim", [2.5, 4.1])),
    ],
)
def test_each_claim_can_fail(truth, change):
    (name,) = (name for name in likelihoods.truths(expected_results()) if name.startswith(truth))
    assert fails_after(change, likelihoods.truths, expected_results(), name)


def test_faults_in_the_densities_make_claims_fail(monkeypatch, tmp_path):
    """Plant a density that is 1 % too large, and a truncation that does not truncate."""
    monkeypatch.setattr(likelihoods, "QUICK_STEPS", 1)
    findings = likelihoods.run(quick_setting())
    check_findings("likelihoods", findings, tmp_path)
    truths = dict(findings.truths)
    normalised = "each normalised density integrates to 1 over [0, 1]"
    truncated = "the cut only ever raises the Gaussian's density"
    assert all(truths[name] for name in truths if name.split()[0] in ("each", "the", "normalising"))

    density, with_likelihood = densities.density, densities.with_likelihood
    monkeypatch.setattr(densities, "density", lambda *arguments: 1.01 * density(*arguments))
    names = {"gaussian": "truncated_gaussian", "truncated_gaussian": "gaussian"}
    monkeypatch.setattr(
        likelihoods, "with_likelihood", lambda p, n: with_likelihood(p, names.get(n, n))
    )
    faulty = likelihoods.run(quick_setting()).truths
    assert not faulty[normalised] and not faulty[truncated]


def test_dequantised_images_are_uniform_within_their_levels():
    data = few_digits()
    assert grey_levels(data) == 17
    key = Key(3)
    noisy = dequantise(data, key)
    k = np.rint(data.test.x * 16)
    u = noisy.test.x * 17 - k
    assert u.min() > -1e-5 and u.max() < 1 + 1e-5
    assert stats.kstest(u.ravel(), stats.uniform.cdf).pvalue > 1e-3
    copies = len(noisy.train) // len(data.train)
    assert copies > 1 and len(np.unique(noisy.train.x[:: len(data.train), 0])) == copies
    np.testing.assert_array_equal(noisy.train.y, np.tile(data.train.y, copies))
    np.testing.assert_array_equal(dequantise(data, key).valid.x, noisy.valid.x)
    assert (dequantise(data, Key(4)).valid.x != noisy.valid.x).any()


def test_images_without_grey_levels_are_refused():
    data = few_digits()
    binary = replace(data, train=Split(np.round(data.train.x)))
    unequal = replace(data, train=Split(np.sqrt(data.train.x)))
    for images in (binary, unequal):
        with pytest.raises(ValueError, match=r"data: got digits, takes grey images of 17 or 256"):
            grey_levels(images)


def test_the_nats_of_a_density_bound_those_of_the_levels():
    """Check the inequality of Theis et al. (2016) at each level, for a steep density."""
    p = stats.truncnorm(-2, 8, loc=0.2, scale=0.1)
    probabilities = np.diff(p.cdf(np.arange(18) / 17))
    assert probabilities.sum() == pytest.approx(1)
    for k, probability in enumerate(probabilities):
        mean, _ = integrate.quad(lambda u, k=k: -p.logpdf((k + u) / 17), 0, 1)
        assert mean + math.log(17) >= -math.log(probability)


def test_images_in_colour_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes images of one channel"):
        likelihoods.run(replace(quick_setting(), data=replace(few_digits(), image_shape=(4, 4, 4))))
