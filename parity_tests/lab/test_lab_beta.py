"""The beta experiment: its claims hold for exact minima and fail for other results."""

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

from diptych.lab import beta, models

BETAS = [0.1, 1.0, 4.0]


def exact_minima():
    """Return results for R = 50 / (1 + K): R + beta K is smallest at K = sqrt(50 / beta) - 1."""
    by_beta = {}
    for b in BETAS:
        kl = (50 / b) ** 0.5 - 1
        terms = [{"kl": k, "recon": 50 / (1 + k)} for k in over_seeds(kl)]
        by_beta[f"{b:g}"] = {"train": terms, "test": terms}
    return {"betas": BETAS, "by_beta": by_beta}


def test_all_claims_hold_for_exact_minima():
    assert all(beta.truths(exact_minima()).values())


def exchange(results, a="0.1", b="4"):
    by_beta = results["by_beta"]
    by_beta[a], by_beta[b] = by_beta[b], by_beta[a]


def make_all_equal(results):
    for name in results["by_beta"]:
        results["by_beta"][name] = results["by_beta"]["1"]


def make_beta_1_worse(results):
    for terms in results["by_beta"]["1"]["train"]:
        terms["recon"] += 5


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        ("KL falls as beta rises", exchange),
        ("KL falls as beta rises", make_all_equal),
        ("the reconstruction error rises with beta", exchange),
        ("the reconstruction error rises with beta", make_all_equal),
        ("-ELBO is least at beta = 1", make_beta_1_worse),
        ("each model is the best of all at its own beta", exchange),
        ("each model is the best of all at its own beta", make_beta_1_worse),
    ],
)
def test_each_claim_can_fail(truth, change):
    assert fails_after(change, beta.truths, exact_minima(), truth)


def test_the_claims_fail_if_training_ignores_beta(monkeypatch, tmp_path):
    """Run the experiment on few images, then with a fault that trains all models at beta = 1."""
    monkeypatch.setattr(beta, "QUICK_STEPS", 1)
    findings = beta.run(quick_setting())
    check_findings("beta", findings, tmp_path)
    train = models.train_vae

    def train_at_beta_1(setting, seed, fields, **run):
        return train(setting, seed, fields | {"beta": 1.0}, **run)

    monkeypatch.setattr(beta, "train_vae", train_at_beta_1)
    faulty = beta.run(quick_setting()).truths
    assert not faulty["KL falls as beta rises"]
    assert not faulty["the reconstruction error rises with beta"]


def test_comparisons_over_seeds():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.1, 1.9, 3.05])
    assert models.at_most(a, b) and models.at_most(b, a), "within the standard error"
    assert models.at_most(a, a + 1) and not models.at_most(a + 1, a)
    assert not models.at_most(1.1 * a, a), "0.2 in the mean, and its standard error is 0.06"
    assert (
        models.always_below(a, a + 1)
        and not models.always_below(a, b)
        and not models.always_below(a, a)
    )
    assert models.at_most([1.0], [1.0]) and not models.at_most([1.1], [1.0])
    assert models.format_mean([1.0, 3.0]) == "2.00 ± 1.41" and models.format_mean([2.0], 1) == "2.0"


def test_images_in_colour_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes images of one channel"):
        beta.run(replace(quick_setting(), data=replace(few_digits(), image_shape=(4, 4, 4))))
