"""Data whose values do not suit a likelihood, and --binarize where 0 and 1 do not suit them."""

import pytest

from diptych import data as data_sets
from diptych.training.presets import settings
from diptych.training.train import train


@pytest.mark.parametrize(
    ("model", "data", "fields", "message"),
    [
        ("vlae", "colour_digits", {}, "with data 'colour_digits', takes grey images"),
        ("conv_vae", "colour_digits", {}, "with data 'colour_digits', takes grey images"),
        (
            "conv_vae",
            "colour_digits",
            {"recon_type": "discretized_logistic_mixture"},
            "with data 'colour_digits', takes grey images",
        ),
        (
            "conv_vae",
            "digits",
            {"recon_type": "discretized_logistic_mixture"},
            "with recon_type 'discretized_logistic_mixture', takes False: it models 256 levels",
        ),
        (
            "vlae",
            "digits",
            {"likelihood": "discretized_logistic_mixture"},
            "with likelihood 'discretized_logistic_mixture', takes False: it models 256 levels",
        ),
    ],
)
def test_binarize_takes_grey_images_and_a_likelihood_of_0_and_1(
    model, data, fields, message, tmp_path
):
    images = data_sets.load(data)
    with pytest.raises(ValueError, match=f"^binarize: got True {message}"):
        run = settings(model, data, images, None, fields, {"binarize": True})
        train(run, images, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "field", "data", "smallest"),
    [
        ("conv_vae", "recon_type", "digits16", 1 / 256),
        ("conv_vae", "recon_type", "digits", 1 / 16),
        ("vlae", "likelihood", "digits16", 1 / 256),
    ],
)
def test_data_between_the_levels_of_the_mixture_are_one_line(
    model, field, data, smallest, run, tmp_path
):
    """The error names the option of the data and the field whose likelihood they do not suit."""
    kind = "discretized_logistic_mixture"
    out = tmp_path / "run"
    options = ["--data", data, "--set", f"{field}={kind}", "--out", out]
    status, _, message = run("train", model, *options)
    got = f"got values between levels, such as {smallest:.17g}"
    takes = f"{field} {kind} takes 0, 1/255, ..., 1"
    assert status == 1 and message == f"error: --data: {got}, {takes}\n"
    assert not out.exists()
