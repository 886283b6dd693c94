"""The autoencoder experiment: its scores of samples, and claims that can fail."""

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

from diptych.data import Split
from diptych.lab import Setting, autoencoder
from model_specs.common.key import Key
from numpy_ref.nn import random

VAE_PRIOR, AE_PRIOR, AE_FITTED = autoencoder.SAMPLERS


def expected_results():
    """Return results for which every claim holds."""
    energy = {VAE_PRIOR: 0.2, AE_PRIOR: 0.6, AE_FITTED: 0.25}
    return {
        "reconstruction": {"train": {"autoencoder": over_seeds(0.03), "VAE": over_seeds(0.06)}},
        "samples": {
            name: {"energy": over_seeds(value), "strays": [0.0, 0.0, 0.1 * value]}
            for name, value in energy.items()
        },
        "codes_from_prior": {"autoencoder": over_seeds(2.0), "VAE": over_seeds(0.1)},
        "held_out": {"energy": 0.005},
    }


def swap(*path):
    """Return a change that exchanges the numbers of the two models."""

    def change(results):
        for step in path:
            results = results[step]
        names = list(results)[:2]
        results[names[0]], results[names[1]] = results[names[1]], results[names[0]]

    return change


def make_samples_as_good_as_images(results):
    results["samples"][VAE_PRIOR]["energy"][1] = 0.0


def make_samples_stray(results):
    results["samples"][VAE_PRIOR]["strays"] = [0.5, 0.4, 0.5]


def make_fitted_samples_worse(results):
    results["samples"][AE_FITTED]["energy"][2] = 0.7


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        ("the autoencoder reconstructs", swap("reconstruction", "train")),
        ("the VAE's codes", swap("codes_from_prior")),
        ("from N(0, I) the VAE's samples", swap("samples")),
        ("a Gaussian fitted", make_fitted_samples_worse),
        ("no more of the VAE's samples stray", make_samples_stray),
        ("held-out images are more like", make_samples_as_good_as_images),
    ],
)
def test_each_claim_can_fail(truth, change):
    assert all(autoencoder.truths(expected_results()).values())
    (name,) = (name for name in autoencoder.truths(expected_results()) if name.startswith(truth))
    assert fails_after(change, autoencoder.truths, expected_results(), name)


def test_the_experiment_gives_complete_findings(monkeypatch, tmp_path):
    monkeypatch.setattr(autoencoder, "QUICK_STEPS", 1)
    findings = autoencoder.run(quick_setting())
    check_findings("autoencoder", findings, tmp_path)
    assert findings.results["held_out"]["energy"] < 0.2


def test_energy_distance_of_normals_is_the_closed_form(rng):
    """It is 0 within N(0, 1), and between N(0, 1) and N(m, 1) follows from E|N(m, 2)|."""
    a, b = rng.normal(size=(2, 3000, 1))
    assert abs(autoencoder._energy(a, b)) < 0.01
    m, s = 1.5, 2**0.5
    grid = np.linspace(-12, 12, 20001)
    density = np.exp(-((grid - m) ** 2) / (2 * s * s)) / (s * (2 * np.pi) ** 0.5)
    expected = 2 * (np.abs(grid) * density).sum() * (grid[1] - grid[0]) - 4 / np.pi**0.5
    assert autoencoder._energy(a, b + m) == pytest.approx(expected, rel=0.05)


def test_the_classifier_distinguishes_digits_from_noise():
    data = few_digits(train=600, held_out=200)
    classifier = autoencoder.DigitClassifier(data)
    noise = random.uniform(Key(1), (200, 64))
    real, fake = classifier(data.test.x), classifier(noise)
    assert real["distance"] < fake["distance"] and real["energy"] < 0.1 < fake["energy"]
    assert real["holes"] == pytest.approx(0.05, abs=0.01)
    assert real["strays"] == pytest.approx(0.01, abs=0.005) and fake["strays"] > 0.9
    # images of one digit have small distances and high confidence, but a large energy distance
    zeros = classifier(data.train.x[data.train.y == 0])
    assert zeros["distance"] < 0.01 and zeros["confidence"] > real["confidence"]
    assert zeros["energy"] > 10 * abs(real["energy"])


def test_fitted_samples_have_the_mean_and_covariance_of_the_codes(monkeypatch, rng):
    mu = rng.normal(size=(500, 2)) @ [[3.0, 1.0], [0.0, 0.5]] + [4.0, -2.0]
    monkeypatch.setattr(autoencoder, "codes", lambda panel, x: mu)
    monkeypatch.setattr(autoencoder, "decode_means", lambda panel, z: z)
    fitted = autoencoder._sample(None, None, 20_000, fitted=True)
    np.testing.assert_allclose(fitted.mean(0), mu.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(fitted.T), np.cov(mu.T), rtol=0.05)
    prior = autoencoder._sample(None, None, 20_000, fitted=False)
    np.testing.assert_allclose(np.cov(prior.T), np.eye(2), atol=0.05)


def test_images_without_labels_are_refused():
    data = few_digits()
    unlabelled = replace(data, train=Split(data.train.x))
    with pytest.raises(ValueError, match="data: got digits, takes labelled images"):
        autoencoder.run(Setting(unlabelled, (0,), quick=True))


def test_images_in_colour_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes images of one channel"):
        autoencoder.run(replace(quick_setting(), data=replace(few_digits(), image_shape=(4, 4, 4))))
