"""Autoencoder against VAE: the judges, and truths that can fail."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.lab_runs import broken, check_findings, few, scale, tiny

from diptych.data import Split
from diptych.lab import Setting, autoencoder
from model_specs.common.key import Key
from numpy_ref.nn import random

OURS, THEIRS, FITTED = autoencoder.SAMPLERS


def right():
    """Results as they should come out."""
    energy = {OURS: 0.2, THEIRS: 0.6, FITTED: 0.25}
    return {
        "reconstruction": {"train": {"autoencoder": scale(0.03), "VAE": scale(0.06)}},
        "samples": {
            name: {"energy": scale(value), "strays": [0.0, 0.0, 0.1 * value]}
            for name, value in energy.items()
        },
        "codes_from_prior": {"autoencoder": scale(2.0), "VAE": scale(0.1)},
        "held_out": {"energy": 0.005},
    }


def swapped(*path):
    """The two models' numbers, one in the other's place."""

    def change(results):
        for step in path:
            results = results[step]
        names = list(results)[:2]
        results[names[0]], results[names[1]] = results[names[1]], results[names[0]]

    return change


def as_good_as_real(results):
    results["samples"][OURS]["energy"][1] = 0.0


def all_stray(results):
    results["samples"][OURS]["strays"] = [0.5, 0.4, 0.5]


def no_help(results):
    results["samples"][FITTED]["energy"][2] = 0.7


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        ("the autoencoder reconstructs", swapped("reconstruction", "train")),
        ("the VAE's codes", swapped("codes_from_prior")),
        ("from N(0, I) the VAE's samples", swapped("samples")),
        ("a Gaussian fitted", no_help),
        ("no more of the VAE's samples stray", all_stray),
        ("held-out images are more like", as_good_as_real),
    ],
)
def test_each_truth_can_fail(truth, change):
    assert all(autoencoder.truths(right()).values())
    (name,) = (name for name in autoencoder.truths(right()) if name.startswith(truth))
    assert broken(autoencoder.truths, right(), name, change)


def test_the_experiment(monkeypatch, tmp_path):
    monkeypatch.setattr(autoencoder, "QUICK_STEPS", 1)
    findings = autoencoder.run(tiny())
    check_findings("autoencoder", findings, tmp_path)
    assert findings.results["held_out"]["energy"] < 0.2


def test_energy_distance_is_known_for_normals(rng):
    """Between N(0, 1) and N(m, 1) by its definition, from E|N(m, 2)|; of one distribution, 0."""
    a, b = rng.normal(size=(2, 3000, 1))
    assert abs(autoencoder._energy(a, b)) < 0.01
    m, s = 1.5, 2**0.5
    grid = np.linspace(-12, 12, 20001)
    density = np.exp(-((grid - m) ** 2) / (2 * s * s)) / (s * (2 * np.pi) ** 0.5)
    wanted = 2 * (np.abs(grid) * density).sum() * (grid[1] - grid[0]) - 4 / np.pi**0.5
    assert autoencoder._energy(a, b + m) == pytest.approx(wanted, rel=0.05)


def test_the_judge_tells_digits_from_noise():
    data = few(train=600, held_out=200)
    classifier = autoencoder.DigitClassifier(data)
    noise = random.uniform(Key(1), (200, 64))
    real, fake = classifier(data.test.x), classifier(noise)
    assert real["distance"] < fake["distance"] and real["energy"] < 0.1 < fake["energy"]
    assert real["holes"] == pytest.approx(0.05, abs=0.01)
    assert real["strays"] == pytest.approx(0.01, abs=0.005) and fake["strays"] > 0.9
    # one digit only: near to the training images, and sure; and yet far from them as a whole
    zeros = data.train.x[data.train.y == 0]
    only = classifier(zeros)
    assert only["distance"] < 0.01 and only["confidence"] > real["confidence"]
    assert only["energy"] > 10 * abs(real["energy"])


def test_fitted_draws_have_the_codes_mean_and_covariance(monkeypatch, rng):
    own = rng.normal(size=(500, 2)) @ [[3.0, 1.0], [0.0, 0.5]] + [4.0, -2.0]
    monkeypatch.setattr(autoencoder, "codes", lambda panel, x: own)
    monkeypatch.setattr(autoencoder, "decoded", lambda panel, z: z)
    drawn = autoencoder._drawn(None, None, 20_000, fitted=True)
    np.testing.assert_allclose(drawn.mean(0), own.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(own.T), rtol=0.05)
    plain = autoencoder._drawn(None, None, 20_000, fitted=False)
    np.testing.assert_allclose(np.cov(plain.T), np.eye(2), atol=0.05)


def test_images_without_labels_are_refused():
    data = few()
    bare = replace(data, train=Split(data.train.x))
    with pytest.raises(ValueError, match="data: got digits, takes labelled images"):
        autoencoder.run(Setting(bare, (0,), quick=True))


def test_colours_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes images of one channel"):
        autoencoder.run(replace(tiny(), data=replace(few(), image_shape=(4, 4, 4))))
