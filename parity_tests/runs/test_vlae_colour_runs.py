"""The VLAE in colour through the front door: trained, resumed, judged and sampled."""

import json
import math

import numpy as np
import pytest
from helpers.short_runs import arrays_of, killed_and_resumed
from matplotlib.image import imread

from diptych import data
from diptych.data.dataset import Dataset, Split
from diptych.parity.measures.rows import normwise
from diptych.runs.folder import RunFolder
from diptych.runs.schema import signed
from diptych.training.presets import PRESETS, settings
from diptych.training.train import train
from model_specs.vlae import VLAEConfig

FIELDS = {"maps": 2, "latent_maps": 2, "strides": 2, "decoder_maps": 4, "decoder_blocks": 2}
FIELDS |= {"flow_hidden_dim": 5, "context_maps": 2, "components": 2}
SMALL = [o for name, value in FIELDS.items() for o in ("--set", f"{name}={value}")]
RUN = {"epochs": 1, "batch_size": 40, "checkpoint_every": 2}
PRESET = "vlae-colour-digits"


def run_of(dataset, **options):
    return settings("vlae", dataset.name, dataset, PRESET, FIELDS, RUN | options)


@pytest.fixture(scope="module")
def few():
    """100 images of colour_digits."""
    whole = data.load("colour_digits")
    parts = (Split(part.x[:100], part.y[:100]) for part in (whole.train, whole.valid, whole.test))
    return Dataset(whole.name, *parts, whole.image_shape, whole.summary)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_trained_judged_and_sampled(run, tmp_path, backend):
    """The KL of the maps sums to the KL; bits/dim are of 768 values; the pictures have colour."""
    out = tmp_path / "run"
    options = ["--preset", PRESET, "--epochs", 1, "--batch-size", 400, "--backend", backend]
    status, message, _ = run("train", "vlae", *options, "--out", out, *SMALL)
    assert status == 0 and "colour_digits" in message
    config = json.loads((out / "run.json").read_text())["config"]["model_config"]
    assert config["channels"] == 3 and config["latent_maps"] == 2
    status, message, _ = run("evaluate", out, "--samples", 3, "--examples", 6)
    assert status == 0 and "bits/dim" in message and "kl of a map" in message
    metrics = json.loads((out / "evaluation.json").read_text())
    assert len(metrics["test_kl_of_maps"]) == 2
    assert sum(metrics["test_kl_of_maps"]) == pytest.approx(metrics["test_kl"], rel=1e-4)
    bits = metrics["test_nll"] / (768 * math.log(2))
    assert metrics["test_bits_per_dim"] == pytest.approx(bits, rel=1e-6)
    assert run("sample", out, "--count", 4)[0] == 0
    assert run("sample", out, "--count", 3, "--reconstruct")[0] == 0
    for name in ("samples", "reconstructions"):
        picture = imread(out / f"{name}.png")[..., :3]
        assert np.ptp(picture, axis=2).max() > 0.1


def test_both_panels_train_to_the_same_weights(few, tmp_path):
    runs = [run_of(few, backend=b, dtype="float64") for b in ("numpy", "torch")]
    left, right = (train(config, few, tmp_path / config.backend) for config in runs)
    for ours, theirs in zip(arrays_of(left.folder), arrays_of(right.folder), strict=True):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert normwise(array, theirs[name]) <= 1e-10, name


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_killed_and_resumed_is_uninterrupted(few, tmp_path, monkeypatch, backend):
    killed_and_resumed(monkeypatch, run_of(few, backend=backend), few, tmp_path, 1)


def test_the_size_of_the_images_is_an_option(run, tmp_path):
    options = ["--preset", PRESET, "--epochs", 1, "--batch-size", 700, *SMALL]
    assert run("train", "vlae", *options, "--size", 32, "--out", tmp_path / "run")[0] == 0
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert config["data"] == "colour_digits:32" and config["model_config"]["height"] == 32
    status, _, error = run(
        "train", "vlae", "--data", "digits", "--size", 16, "--out", tmp_path / "b"
    )
    assert status == 1 and error.startswith("error: --size: got 16 with data 'digits'")


def test_a_resumed_run_keeps_its_size_however_it_is_named(run, tmp_path):
    """colour_digits, colour_digits:16 and --size 16 are the same images."""
    out = tmp_path / "run"
    train_on = ("train", "vlae", "--batch-size", 700, "--out", out)
    first = ["--preset", PRESET, "--epochs", 1, *SMALL]
    assert run(*train_on, *first)[0] == 0
    resume = ("train", "vlae", "--resume", "--out", out)
    for options in (["--size", 16], ["--data", "colour_digits:16"], ["--data", "colour_digits"]):
        status, message, _ = run(*resume, *options)
        assert status == 0 and "finished already" in message
    assert RunFolder(out).config().data == "colour_digits"
    for options, got in (
        (["--size", 32], "--size: got 32"),
        (["--data", "colour_digits:32"], "--data: got 'colour_digits:32'"),
        (["--data", "digits"], "--data: got 'digits'"),
    ):
        status, _, error = run(*resume, *options)
        assert status == 1 and error.startswith(f"error: {got}, the run in")
        assert error.endswith("is on 'colour_digits'\n")


def test_a_run_whose_name_states_the_default_size_is_resumed(run, tmp_path):
    """Earlier versions stored the name as it was typed."""
    out = tmp_path / "run"
    options = ["--preset", PRESET, "--epochs", 1, "--batch-size", 700, *SMALL]
    assert run("train", "vlae", *options, "--out", out)[0] == 0
    settings_of_run = json.loads((out / "run.json").read_text())
    settings_of_run["config"]["data"] = "colour_digits:16"
    (out / "run.json").write_text(json.dumps(signed(settings_of_run)))
    for size in ([], ["--size", 16], ["--data", "colour_digits"]):
        status, message, error = run("train", "vlae", "--resume", *size, "--out", out)
        assert status == 0 and "finished already" in message, error


def test_the_presets_of_colour_have_the_papers_sizes():
    """Chen et al. (2016): 16 maps of 8 x 8, 6 steps of 2 x 128 maps, 4 gated blocks of 64 maps."""
    preset = PRESETS["vlae-cifar10"]
    config = VLAEConfig(height=32, width=32, **preset.fields)
    assert config.code_shape == (16, 8, 8) and config.components == 10
    assert (config.flow_steps, config.flow_hidden_layers, config.flow_hidden_dim) == (6, 2, 128)
    assert (config.context, config.decoder_blocks, config.decoder_maps) == ("gated", 4, 64)
    assert (config.window_width, config.window_rows) in {(4, 2), (5, 3), (7, 4)}
    assert config.free_bits_of == "soft"
    small = PRESETS["vlae-cifar10-small"]
    assert small.data == "cifar10:16"
    for name in ("vlae-cifar10", "vlae-cifar10-small", PRESET):
        assert PRESETS[name].model == "vlae" and "ours" in PRESETS[name].source
