"""The standard errors in the laboratory's findings and the tables, from their definitions."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from diptych.evaluation.importance import Evaluation
from diptych.lab import bound, models
from diptych.lab.estimators import QUICK, variances_without_decoder
from diptych.lab.gradients import Moments, encoder_size, estimates
from diptych.lab.lossy import DigitClassifiers
from diptych.study.memory import _over_seeds
from diptych.tasks.image_evaluation import _weighted_lines
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.mlp_vae import MLPVAE
from numpy_ref.nn import random

KEY = Key(19)


def standard_error(values):
    """The square root of the sum of squared deviations, over N (N - 1)."""
    values = [float(value) for value in values]
    mean, count = sum(values) / len(values), len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (count * (count - 1)))


def test_bounds_have_the_errors_of_means_over_independent_blocks(rng):
    """Of each image the error of its own mean; those of all images add up as variances do."""
    images, samples = 5, bound.KS[-1]
    log_w = rng.normal(size=(images, 2, samples)) - 3
    log_p = rng.normal(size=images) - 3
    for K, row in zip(bound.KS, bound.bounds(log_w, log_p), strict=True):
        blocks = logsumexp(log_w.reshape(images, -1, K), axis=2) - math.log(K)
        log_r = blocks - log_p[:, None]
        gaps = np.exp(log_r) - 1 - log_r
        for name, values in (("standard_error", blocks), ("gap_error", gaps)):
            errors = [standard_error(own) for own in values]
            expected = math.sqrt(sum(error**2 for error in errors)) / images
            assert row[name] == pytest.approx(expected, rel=1e-9), (K, name)
        assert row["bound"] == pytest.approx(blocks.mean(), rel=1e-12)
        assert row["gap"] == pytest.approx(gaps.mean(), rel=1e-9)


def test_seeds_agree_within_the_standard_error_of_their_mean_difference(rng):
    a, b = rng.normal(size=7), rng.normal(size=7)
    differences = a - b - (a - b).mean()
    error = standard_error(differences)
    for share, expected in ((0.99, True), (1.01, False)):
        assert models.at_most(differences + share * error, np.zeros(7)) == expected
    assert models.at_most([0.5], [0.5]) and not models.at_most([0.6], [0.5])


def test_a_mean_is_shown_with_the_standard_deviation_over_seeds():
    assert models.format_mean([1.0, 3.0]) == "2.00 ± 1.41"
    assert models.format_mean([1.0, 2.0, 6.0], 3) == "3.000 ± 2.646"
    assert models.format_mean([1.0]) == "1.00"


def test_moments_of_estimates_have_the_errors_of_their_definitions(rng):
    gradients, centre = rng.normal(size=(9, 5)) + 1, rng.normal(size=5)
    moments = Moments(centre, 3)
    for gradient in gradients:
        moments.add(gradient)
    summary = moments.summary()
    for part, end in (("encoder", 3), ("whole", 5)):
        own = gradients[:, :end]
        variance = ((own - own.mean(0)) ** 2).sum() / 8
        assert summary[part]["variance"] == pytest.approx(variance, rel=1e-10)
        assert summary[part]["bias_error"] == pytest.approx(math.sqrt(variance / 9), rel=1e-10)
        squares = ((own - centre[:end]) ** 2).sum(1)
        expected = standard_error(squares)
        assert summary[part]["variance_error"] == pytest.approx(expected, rel=1e-10)
    direction = centre[:3] / (centre[:3] @ centre[:3])
    shares = (gradients[:, :3] - centre[:3]) @ direction
    assert summary["along"] == pytest.approx(shares.mean(), rel=1e-10)
    assert summary["along_error"] == pytest.approx(standard_error(shares), rel=1e-10)


def test_variances_without_a_decoder_have_the_errors_of_means_of_squares():
    model = MLPVAE(MLPVAEConfig(4, 3, 2, init="torch"), KEY)
    x = random.uniform(KEY, (3, 4))
    result = variances_without_decoder(model, x, QUICK, KEY)
    twin = model.astype(np.float64)
    twin.decoder_logits.weight.data[...] = 0
    names = [name for name, p in twin.named_parameters() for _ in range(p.data.size)]
    heads = [name in ("posterior.mu.bias", "posterior.logvar.bias") for name in names]
    assert sum(heads) == 4 and encoder_size(twin) < len(heads)
    for estimator in ("A", "B"):
        drawn = [g[heads] for g in estimates(twin, estimator, x, 1, QUICK.draws, KEY)]
        rows = np.array(drawn)
        squares = ((rows - rows.mean(0)) ** 2).sum(1)
        expected = standard_error(squares)
        assert result[f"{estimator}_error"] == pytest.approx(expected, rel=1e-10, abs=1e-300)
        expected = squares.sum() / (QUICK.draws - 1)
        assert result[estimator] == pytest.approx(expected, rel=1e-10, abs=1e-300)


def test_chance_has_the_error_of_a_share():
    """sqrt(p (1 - p) / N) of the most common digit."""
    classifiers = object.__new__(DigitClassifiers)
    classifiers.test_y, classifiers.x_accuracy = np.array([3, 3, 3, 1, 0]), 0.9
    result = classifiers.reference()
    assert result == {
        "x": 0.9,
        "chance": 0.6,
        "standard_error": pytest.approx(math.sqrt(0.6 * 0.4 / 5), rel=1e-14),
    }


def test_outcomes_over_seeds_have_mean_and_standard_deviation():
    runs = [
        {"accuracy": a, "delays": {}, "seconds": 1.0, "curve": None, "diverged": None}
        for a in (0.2, 0.4, 0.9)
    ]
    result = _over_seeds(runs)
    assert result["mean"] == pytest.approx(0.5)
    assert result["spread"] == pytest.approx(standard_error([0.2, 0.4, 0.9]) * math.sqrt(3))


@pytest.mark.parametrize(("least", "share", "mark"), [(2.5, 0.0, ""), (1.5, 0.25, " †")])
def test_an_evaluation_shows_its_standard_error(least, share, mark):
    result = Evaluation(7, 9, 81.25, 0.125, -82.5, 0.75, 3.25, least, share)
    assert _weighted_lines(result) == [
        ("NLL", f"81.250 ± 0.125{mark}", "nats/example"),
        ("NLL", f"0.7500{mark}", "bits/dim"),
        ("effective sample size", f"3.2, at least {least}", "of 9"),
        ("ELBO", "-82.500", "nats/example"),
    ]
