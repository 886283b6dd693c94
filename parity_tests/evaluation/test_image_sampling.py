"""`diptych sample` on runs of image models: samples, means and reconstructions."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

SMALL = {"maps": 2, "hidden_dim": 6, "latent_dim": 3, "flow_steps": 1, "flow_hidden_dim": 5}
SMALL |= {"flow_hidden_layers": 1, "decoder_maps": 3, "masked_layers": 2}


@pytest.fixture
def trained(run, tmp_path):
    """Function that trains a VLAE with some config fields for one epoch; returns the folder."""

    def train(**fields):
        out = tmp_path / "run"
        sets = [o for n, v in (SMALL | fields).items() for o in ("--set", f"{n}={v}")]
        options = ["--data", "binary_digits", "--epochs", 1, "--batch-size", 600, "--out", out]
        assert run("train", "vlae", *options, *sets)[0] == 0
        return out

    return train


def _grey_values(path):
    """Return the distinct grey values of a picture."""
    return np.unique(imread(path)[..., 0])


def test_an_autoregressive_decoder_gives_samples_by_default(run, trained, tmp_path):
    out = trained()
    status, message, _ = run("sample", out, "--count", 4)
    assert status == 0 and "4 samples" in message
    assert "pixels of 4 images" in message and "64/64" in message
    assert run("sample", out, "--count", 4, "--mean", "--out", tmp_path / "means.png")[0] == 0
    assert len(_grey_values(out / "samples.png")) < len(_grey_values(tmp_path / "means.png"))


def test_a_factorised_decoder_gives_means_by_default(run, trained, tmp_path):
    out = trained(context="none")
    status, message, _ = run("sample", out, "--count", 4)
    assert status == 0 and "pixels of" not in message
    assert run("sample", out, "--count", 4, "--no-mean", "--out", tmp_path / "drawn.png")[0] == 0
    assert len(_grey_values(out / "samples.png")) > len(_grey_values(tmp_path / "drawn.png"))


def test_a_name_that_is_no_png_is_refused_before_sampling(run, trained, monkeypatch):
    out = trained()
    monkeypatch.setattr("torch_impl.vlae.VLAE._sample_pixels", None)
    for option in ("--mean", "--reconstruct"):
        status, _, message = run("sample", out, option, "--out", out / "picture.txt")
        assert status == 1 and "takes a name that ends in .png" in message


def test_an_evaluation_reports_progress_of_the_reconstructions(run, trained):
    status, message, _ = run("evaluate", trained(), "--samples", 2, "--examples", 3)
    assert status == 0 and "reconstructions" in message


def test_reconstruct_draws_test_images_and_their_reconstructions(run, trained):
    out = trained()
    status, message, _ = run("sample", out, "--reconstruct", "--count", 5)
    assert status == 0 and "5 reconstructions" in message
    assert "pixels of 5 images" in message and "64/64" in message
    first = imread(out / "reconstructions.png")
    assert run("sample", out, "--reconstruct", "--count", 5, "--seed", 1)[0] == 0
    assert first.shape == imread(out / "reconstructions.png").shape
    assert (first != imread(out / "reconstructions.png")).any()  # other images
    status, _, message = run("sample", out, "--reconstruct", "--mean")
    assert status == 1 and "with reconstruct, takes samples" in message


def test_reconstruct_and_mean_are_refused_for_text(run, tmp_path):
    out = tmp_path / "run"
    sizes = ("embedding_dim=4", "hidden_dim=4", "seq_len=5")
    sets = [o for field in sizes for o in ("--set", field)]
    text = tmp_path / "text.txt"
    text.write_text("one two three two one\n" * 400)
    assert (
        run("train", "lstm", "--data", f"text:{text}", "--epochs", 1, "--out", out, *sets)[0] == 0
    )
    for option in ("--reconstruct", "--mean"):
        status, _, message = run("sample", out, option)
        assert status == 1 and "takes one on images" in message
