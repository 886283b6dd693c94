"""Two models on the same images: `evaluate --per-image`, and the paired difference."""

import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from diptych.evaluation.paired import paired_difference, read_nll, read_paired, write_columns

SMALL = ["--data", "digits", "--epochs", 1, "--set", "hidden_dim=5", "--set", "latent_dim=2"]


@pytest.fixture
def trained(run, tmp_path):
    """A run on the digits, and the file of --per-image of 40 of its test images."""
    out, file = tmp_path / "run", tmp_path / "few.csv"
    assert run("train", "mlp_vae", *SMALL, "--out", out)[0] == 0
    options = ["--samples", 5, "--examples", 40, "--per-image", file]
    assert run("evaluate", out, *options)[0] == 0
    return out, file


def make_columns(nll, images=None):
    nll = np.asarray(nll, float)
    numbers = np.arange(len(nll)) if images is None else np.asarray(images)
    source = {name: np.full(len(nll), name) for name in ("data", "split")}
    return source | {"image": numbers, "nll": nll, "elbo": -nll, "effective_samples": 1 + 0 * nll}


def test_the_file_has_the_numbers_whose_means_the_evaluation_reports(trained):
    out, file = trained
    metrics = json.loads((out / "evaluation.json").read_text())
    with file.open() as lines:
        rows = [*csv.DictReader(lines)]
    assert {(row["data"], row["split"]) for row in rows} == {("digits", "test")}
    numbers = ("image", "nll", "elbo", "effective_samples")
    columns = {name: np.array([float(row[name]) for row in rows]) for name in numbers}
    assert len(rows) == 40 and len({row["image"] for row in rows}) == 40
    assert columns["image"].max() > 40, "the images are drawn at random"
    assert columns["nll"].mean() == pytest.approx(metrics["test_nll"], rel=1e-14)
    error = stats.sem(columns["nll"])
    assert error == pytest.approx(metrics["test_nll_standard_error"], rel=1e-12)
    assert columns["elbo"].mean() == pytest.approx(metrics["test_elbo"], rel=1e-14)
    sizes = columns["effective_samples"]
    assert sizes.min() == metrics["test_least_effective_samples"]
    assert sizes.mean() == pytest.approx(metrics["test_effective_samples"], rel=1e-14)
    assert (columns["elbo"] <= -columns["nll"]).all()


def test_the_numbers_are_those_of_the_images(run, trained, tmp_path):
    """An image has the NLL that it has among all images, up to the noise of 5 and 200 draws."""
    out, file = trained
    whole = tmp_path / "whole.csv"
    options = ["--samples", 200, "--per-image", whole]
    assert run("evaluate", out, *options)[0] == 0
    few, all_images = read_nll(file), read_nll(whole)
    assert list(all_images) == [("digits", "test", number) for number in range(300)]
    pairs = np.array([(few[n], all_images[n]) for n in few])
    assert np.corrcoef(*pairs.T)[0, 1] > 0.9


def test_the_paired_difference_is_that_of_scipy(rng):
    a = rng.normal(80, 20, 1000)
    b = a + rng.normal(0.3, 2, 1000)
    result, witness = paired_difference(a, b), stats.ttest_rel(a, b)
    assert result.difference / result.standard_error == pytest.approx(witness.statistic, rel=1e-12)
    assert result.standard_error == pytest.approx(stats.sem(a - b), rel=1e-12)
    assert result.correlation == pytest.approx(stats.pearsonr(a, b).statistic, rel=1e-12)
    unpaired = math.hypot(stats.sem(a), stats.sem(b))
    assert result.unpaired_standard_error == pytest.approx(unpaired, rel=1e-12)
    assert result.difference < 0 and result.images == 1000


@pytest.mark.parametrize(("a", "b"), [((3,), (4,)), ((1,), (1,)), ((2, 2), (2, 2))])
def test_other_shapes_are_refused(a, b):
    with pytest.raises(ValueError, match=r"a and b: got .* N >= 2"):
        paired_difference(np.zeros(a), np.zeros(b))


def test_images_are_paired_by_their_number_and_values_are_exact(tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    write_columns(a, make_columns([1.1, 2.2, 1 / 3], images=[5, 0, 9]))
    write_columns(b, make_columns([0.25, 1.1, 2.0], images=[9, 5, 0]))
    assert [*read_nll(a).items()] == [
        (("data", "split", 5), 1.1),
        (("data", "split", 0), 2.2),
        (("data", "split", 9), 1 / 3),
    ]
    differences, result = [1.1 - 1.1, 2.2 - 2.0, 1 / 3 - 0.25], read_paired(a, b)
    assert result.difference == pytest.approx(np.mean(differences), rel=1e-14)
    assert result.standard_error == pytest.approx(stats.sem(differences), rel=1e-12)
    write_columns(b, make_columns([0.25, 1.1, 2.0], images=[9, 5, 1]))
    with pytest.raises(ValueError, match=r"b\.csv: has other images than .*: 2 are in one of"):
        read_paired(a, b)


@pytest.mark.parametrize("column", ["data", "split"])
def test_images_of_other_data_are_other_images(column, tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    write_columns(a, make_columns([1.0, 2.0, 3.0]))
    write_columns(b, make_columns([1.0, 2.0, 3.0]) | {column: np.full(3, "other")})
    with pytest.raises(ValueError, match=r"b\.csv: has other images than .*: 6 are in one of"):
        read_paired(a, b)


def test_one_image_has_no_standard_error(tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    for file in (a, b):
        write_columns(file, make_columns([1.0]))
    with pytest.raises(ValueError, match=r"a\.csv and .*b\.csv: have 1 images, takes 2 or more"):
        read_paired(a, b)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a file of --per-image, which begins with data,split,image,nll"),
        ("a,b\n1,2\n", "not a file of --per-image"),
        ("a,b,1.5,2,0,0", "line 2: got 'a,b,1.5,2,0,0'"),
        ("a,b,1,nan,0,0", "line 2: got 'a,b,1,nan,0,0'"),
        ("a,b,1,2,0,0\na,b,1,2,0,0", "line 3: got"),
        ("7", "line 2: got '7'"),
    ],
)
def test_a_file_of_another_kind_is_one_error_with_its_line(text, message, tmp_path):
    file = tmp_path / "a.csv"
    head = "" if "not a file" in message else "data,split,image,nll,elbo,effective_samples\n"
    file.write_text(head + text)
    with pytest.raises(ValueError, match=message) as error:
        read_nll(file)
    assert str(error.value).startswith(str(file))


def test_a_model_without_likelihood_has_no_nll_of_an_image(run, tmp_path):
    out = tmp_path / "run"
    assert run("train", "mlp_vae", *SMALL, "--set", "posterior=deterministic", "--out", out)[0] == 0
    status, _, error = run("evaluate", out, "--per-image", tmp_path / "a.csv")
    assert (
        status == 1
        and error.startswith("error: --per-image: got")
        and "a log-likelihood, which this one's is not" in error
    )
    assert not (tmp_path / "a.csv").exists()
    status, _, error = run("evaluate", out, "--per-image", tmp_path / "a.txt")
    assert status == 1 and "takes a name that ends in .csv" in error
