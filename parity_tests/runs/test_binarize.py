"""--binarize with data or a likelihood for which pixels of 0 and 1 make no sense."""

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
