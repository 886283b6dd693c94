"""The beta sweep: its truths hold of what minimises, and of nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.lab_runs import broken, check_findings, few, scale, tiny

from diptych.lab import beta, models

BETAS = [0.1, 1.0, 4.0]


def minimised():
    """R = 50 / (1 + K), whose R + beta K is least at K = sqrt(50 / beta) - 1: known exactly."""
    result = {}
    for b in BETAS:
        kl = (50 / b) ** 0.5 - 1
        terms = [{"kl": k, "recon": 50 / (1 + k)} for k in scale(kl)]
        result[f"{b:g}"] = {"train": terms, "test": terms}
    return {"betas": BETAS, "found": result}


def test_all_truths_hold_of_exact_minima():
    assert all(beta.truths(minimised()).values())


def exchange(results, a="0.1", b="4"):
    result = results["found"]
    result[a], result[b] = result[b], result[a]


def same(results):
    for name in results["found"]:
        results["found"][name] = results["found"]["1"]


def worse_at_one(results):
    for terms in results["found"]["1"]["train"]:
        terms["recon"] += 5


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        ("KL falls as beta rises", exchange),
        ("KL falls as beta rises", same),
        ("the reconstruction error rises with beta", exchange),
        ("the reconstruction error rises with beta", same),
        ("-ELBO is least at beta = 1", worse_at_one),
        ("each model is the best of all at its own beta", exchange),
        ("each model is the best of all at its own beta", worse_at_one),
    ],
)
def test_each_truth_can_fail(truth, change):
    assert broken(beta.truths, minimised(), truth, change)


def test_a_beta_that_is_ignored_is_found_out(monkeypatch, tmp_path):
    """The whole experiment, on few images; and again with a plant that trains all at beta 1."""
    monkeypatch.setattr(beta, "QUICK_STEPS", 1)
    findings = beta.run(tiny())
    check_findings("beta", findings, tmp_path)
    train = models.trained

    def ignoring(setting, seed, fields, **run):
        return train(setting, seed, fields | {"beta": 1.0}, **run)

    monkeypatch.setattr(beta, "trained", ignoring)
    planted = beta.run(tiny()).truths
    assert not planted["KL falls as beta rises"]
    assert not planted["the reconstruction error rises with beta"]


def test_seeds_decide_what_can_be_told_apart():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.1, 1.9, 3.05])
    assert models.no_more(a, b) and models.no_more(b, a), "within their spread"
    assert models.no_more(a, a + 1) and not models.no_more(a + 1, a)
    assert not models.no_more(1.1 * a, a), "0.2 in the mean, and its standard error is 0.06"
    assert models.less(a, a + 1) and not models.less(a, b) and not models.less(a, a)
    assert models.no_more([1.0], [1.0]) and not models.no_more([1.1], [1.0])
    assert models.format_mean([1.0, 3.0]) == "2.00 ± 1.41" and models.summary([2.0], 1) == "2.0"


def test_colours_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes images of one channel"):
        beta.run(replace(tiny(), data=replace(few(), image_shape=(4, 4, 4))))
