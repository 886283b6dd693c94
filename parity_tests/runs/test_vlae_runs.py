"""The VLAE through the front door: trained, resumed, judged and sampled; and what it refuses."""

import json

import numpy as np
import pytest
from helpers.short_runs import arrays_of, killed_and_resumed
from matplotlib.image import imread

from diptych import data, pairs
from diptych.evaluation.elbo import reconstruction_error
from diptych.panels.ranks import Ranks
from diptych.parity.measures.rows import normwise
from diptych.training.presets import settings
from diptych.training.train import build, train

FIELDS = {"maps": 2, "hidden_dim": 7, "latent_dim": 3, "decoder_maps": 4, "masked_layers": 3}
FIELDS |= {"flow_hidden_dim": 5, "context_maps": 2}
SMALL = [o for name, value in FIELDS.items() for o in ("--set", f"{name}={value}")]
RUN = {"epochs": 1, "batch_size": 400, "checkpoint_every": 2}


def run_of(result, fields=(), **options):
    sizes = FIELDS | dict(fields)
    return settings("vlae", result.name, result, "vlae-digits", sizes, RUN | options)


@pytest.fixture(scope="module")
def digits():
    return data.load("binary_digits")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_trained_judged_and_sampled(run, tmp_path, backend):
    """One epoch of the preset, on the data that the pair names."""
    out = tmp_path / "run"
    options = ["--preset", "vlae-digits", "--epochs", 1, "--batch-size", 400, "--backend", backend]
    status, message, _ = run("train", "vlae", *options, "--out", out, *SMALL)
    assert status == 0 and "binary_digits" in message
    config = json.loads((out / "run.json").read_text())["config"]
    assert config["optimizer"] == "adamax" and config["polyak"] == 0.998
    assert config["model_config"]["latent"] == "af_prior" and config["model_config"]["height"] == 8
    status, message, _ = run("evaluate", out, "--samples", 3, "--examples", 12)
    assert status == 0 and "NLL" in message and "kl" in message
    metrics = json.loads((out / "evaluation.json").read_text())
    assert 0 < metrics["test_nll"] <= -metrics["test_elbo"] and metrics["test_samples"] == 3
    assert run("sample", out, "--count", 4, "--no-mean")[0] == 0
    drawn = imread(out / "samples.png")[..., :3].ravel()
    assert (np.minimum(drawn, 1 - drawn) < 0.01).mean() > 0.9  # ink or paper
    assert run("sample", out, "--count", 4, "--out", tmp_path / "means.png")[0] == 0


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_the_error_of_drawn_reconstructions_does_not_depend_on_the_cut(digits, backend):
    panel = build(run_of(digits, backend=backend, dtype="float64"))
    x = digits.test.x[:20].reshape(-1, 1, 8, 8).astype(float)
    whole = reconstruction_error(panel, x, 20)
    assert 0.1 < whole < 1
    for size in (1, 7):
        assert reconstruction_error(panel, x, size) == pytest.approx(whole, rel=1e-12)


def test_both_panels_train_to_the_same_weights(digits, tmp_path):
    runs = [run_of(digits, backend=b, dtype="float64") for b in ("numpy", "torch")]
    left, right = (train(config, digits, tmp_path / config.backend) for config in runs)
    for ours, theirs in zip(arrays_of(left.folder), arrays_of(right.folder), strict=True):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert normwise(array, theirs[name]) <= 1e-10, name


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("steps", [1, 3])
def test_killed_and_resumed_is_uninterrupted(digits, tmp_path, monkeypatch, backend, steps):
    """With free bits whose weight moves, and before the first checkpoint."""
    run = run_of(digits, {"free_bits_of": "soft"}, backend=backend)
    killed_and_resumed(monkeypatch, run, digits, tmp_path, steps)


def test_grey_images_are_refused_and_may_be_binarised(run, tmp_path):
    out = tmp_path / "run"
    options = ["--data", "digits", "--epochs", 1, "--batch-size", 400, "--out", out, *SMALL]
    status, message, error = run("train", "vlae", *options)
    assert status == 1 and error.startswith("error: ") and error.count("\n") == 1
    assert "takes 0 and 1: --binarize" in error and "Traceback" not in message + error
    assert run("train", "vlae", *options, "--binarize", "--out", tmp_path / "b")[0] == 0


def test_several_ranks_are_refused_where_bits_are_free(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.panels.right.DistributedDataParallel", lambda loss: loss)
    with pytest.raises(ValueError, match="ranks: got 2, vlae with this config is trained in one"):
        train(run_of(digits), digits, tmp_path / "run", ranks=Ranks(0, 2))
    assert not (tmp_path / "run").exists()


def test_data_that_does_not_fit_is_refused(run, tmp_path):
    pair = pairs.get("vlae")
    for name, message in (("topics", "vlae takes images"), ("copy:10", "vlae takes images")):
        with pytest.raises(ValueError, match=message):
            pair.for_data(data.load(name), {})
    status, _, error = run("train", "vlae", "--set", "height=9", "--out", tmp_path / "run")
    assert status == 1 and "height: got 9, takes 8 for binary_digits" in error
    assert not (tmp_path / "run").exists()
