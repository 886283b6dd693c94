"""Training on images of any shape: how they are handed over, pictures, early stopping."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from matplotlib.image import imread
from run_folders import KillAt, KilledError, StopAt, arrays_of, assert_same_arrays, without_times

from diptych import data, pairs, training
from diptych.data import Dataset, Split
from diptych.evaluation import elbo_terms, reconstruction_error
from diptych.inspect_run import open_run
from diptych.panels import BACKENDS
from diptych.presets import settings
from diptych.run import RunFolder
from diptych.tasks import images, make_task
from model_specs.conv_vae import ConvVAEConfig
from model_specs.key import Key
from numpy_ref import random

FIELDS = {"base_channels": 2, "latent_dim": 3}


def dataset(shape=(3, 16, 16), name="squares", count=24):
    """Random images in [0, 1]."""
    width = int(np.prod(shape))
    splits = (
        Split(random.uniform(Key(3).fold_in(part), (count, width), dtype="float32"))
        for part in ("train", "valid", "test")
    )
    return Dataset(name, *splits, shape, f"{name}: random images")


def config_for(found, *, fields=FIELDS, **run):
    given = {"epochs": 2, "batch_size": 10, "dtype": "float64"} | run
    return settings("conv_vae", found.name, found, None, fields, given)


# How images are handed over


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 20, 33), (2, 16, 16)])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "none"])
def test_images_fit_the_model_and_come_back(shape, activation):
    """In the range of the activation, with a black margin to the next multiple of 16."""
    found = dataset(shape, count=5)
    pair = pairs.get("conv_vae")
    config = pair.for_data(found, FIELDS | {"out_activation": activation})
    rows = found.train.x
    batch = pair.to_batch(config, rows, shape)
    S = config.image_size
    assert S % 16 == 0 and 0 <= S - max(shape[1:]) < 16
    assert batch.shape == (5, shape[0], S, S) and batch.dtype == np.float32
    low = -1 if activation == "tanh" else 0
    assert batch.min() >= low and batch.max() <= 1 and batch.max() > 0.9
    assert activation != "tanh" or batch.min() < -0.9
    inside = pair.to_images(config, batch, shape)
    np.testing.assert_allclose(inside.reshape(rows.shape), rows, atol=1e-7)
    black = (batch == low).sum() - (rows == 0).sum()
    assert black == 5 * shape[0] * (S * S - shape[1] * shape[2])
    wild = pair.to_images(config, 3 * batch, shape)
    assert wild.min() >= 0 and wild.max() <= 1


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"image_size": 64}, "image_size: got 64, takes 16 for squares"),
        ({"in_channels": 1}, "in_channels: got 1, takes 3 for squares"),
    ],
)
def test_a_model_of_other_images_is_refused(overrides, told):
    with pytest.raises(ValueError, match=told):
        config_for(dataset(), fields=FIELDS | overrides)


def test_a_text_is_no_image():
    with pytest.raises(ValueError, match="data: got copy:5:1, conv_vae takes images"):
        settings("conv_vae", "copy:5:1", data.load("copy:5:1"), None, {}, {})


def test_colour_takes_the_papers_size_and_grey_less():
    colour, grey = (pairs.get("conv_vae").for_data(dataset((c, 32, 32)), {}) for c in (3, 1))
    assert (colour.base_channels, colour.latent_dim) == (64, 128)
    assert grey.base_channels < 64 and grey.latent_dim < 128
    assert colour.recon_type == "gaussian" and colour.has_log_weight


# Training


@pytest.mark.parametrize(
    ("size", "sizes"), [(8, [8, 8, 8]), (10, [10, 10, 5]), (12, [12, 13]), (24, [25]), (40, [25])]
)
def test_no_batch_has_one_image(size, sizes):
    """All of them once an epoch; a rest of one joins the batch before it."""
    count = sum(sizes)
    found = dataset((1, 2, 2), count=count)
    task = make_task(settings("mlp_vae", "x", found, None, {}, {"batch_size": size}), found)
    batches = [task.batch(3, i) for i in range(task.steps_per_epoch)]
    assert [len(batch) for batch in batches] == sizes
    rows = np.concatenate(batches)
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(found.train.x[:, 0]))
    assert (rows != found.train.x).any()


def test_a_batch_of_one_cannot_be_normalised(tmp_path):
    """By a model whose codes are 1 x 1; said before the folder is claimed. Larger codes can."""
    found = dataset()
    for backend in BACKENDS:
        config = config_for(found, batch_size=1, backend=backend)
        with pytest.raises(ValueError, match="batch_size: got 1 of squares, conv_vae takes 2"):
            training.train(config, found, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    larger = dataset((1, 32, 32), count=3)
    config = config_for(larger, batch_size=1, epochs=1)
    assert training.train(config, larger, tmp_path / "run").steps == 3


def test_a_validation_that_is_nan_ends_the_run(tmp_path, monkeypatch):
    found = dataset()
    monkeypatch.setattr(images.Images, "validate", lambda *_: {"total": float("nan")})
    with pytest.raises(training.NonFiniteError, match="step 3: total on validation is nan"):
        training.train(config_for(found), found, tmp_path / "run")


def test_a_run_interrupted_at_its_end_is_whole(tmp_path, monkeypatch):
    found = dataset()
    StopAt(monkeypatch, 6)
    outcome = training.train(config_for(found), found, tmp_path / "run")
    assert outcome.steps == 6 and not outcome.interrupted


def test_one_image_alone_is_a_batch_of_a_model_that_bears_it(tmp_path):
    found = dataset((1, 2, 2), count=1)
    config = settings("mlp_vae", "squares", found, None, {}, {"epochs": 2})
    assert training.train(config, found, tmp_path / "run").steps == 2


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_both_panels_train_alike(activation, tmp_path):
    found = dataset()
    ends = []
    for backend in BACKENDS:
        config = config_for(found, backend=backend, fields=FIELDS | {"out_activation": activation})
        ends.append(training.train(config, found, tmp_path / backend))
    for a, b in zip(*(end.folder.metrics for end in ends), strict=True):
        assert a.keys() == b.keys()
        if a["kind"] == "step":
            assert a["total"] == pytest.approx(b["total"], rel=1e-10)
        else:
            assert a["valid"] == pytest.approx(b["valid"], rel=1e-10)
    left, right = (arrays_of(end.folder)[0] for end in ends)
    for name, array in left.items():
        np.testing.assert_allclose(array, right[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_binarised_images_are_drawn_before_they_are_spread(monkeypatch):
    """tanh: a 0 is -1."""
    found = dataset()
    config = config_for(found, binarize=True, fields=FIELDS | {"out_activation": "tanh"})
    panel, task = training.build(config), make_task(config, found)
    batch = task.prepare(panel, task.batch(0, 0), Key(1), None)
    assert set(np.unique(batch)) == {-1, 1}
    assert 0.4 < (batch > 0).mean() < 0.6


def test_pictures_of_the_epochs_that_were_asked_for(tmp_path):
    found = dataset()
    outcome = training.train(config_for(found, epochs=5, pictures=2), found, tmp_path / "run")
    folder = outcome.folder.path / "pictures"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{n}-000{e}.png" for n in ("reconstructions", "samples") for e in (2, 4)]
    early, late = (imread(folder / f"samples-000{e}.png")[..., :3] for e in (2, 4))
    assert early.shape == late.shape and (early != late).any()  # it has learned
    assert (np.ptp(late, axis=2) > 0.02).any()  # in colour


def test_pictures_show_what_the_model_sees(tmp_path):
    """Originals in the upper row, through the margin and the range, and back."""
    found = dataset((1, 12, 12))
    config = config_for(found, fields=FIELDS | {"out_activation": "tanh"})
    panel, task = training.build(config), make_task(config, found)
    axis = task.pictures(panel)["reconstructions"].axes[0]
    shown = [np.asarray(image.get_array()) for image in axis.images[:16]]
    want = found.valid.x[:16].reshape(16, 12, 12)
    np.testing.assert_allclose(shown, want, atol=1e-6)


def test_a_text_has_no_pictures(tmp_path):
    found = data.load("copy:5:1")
    config = settings("lstm", "copy:5:1", found, None, {}, {"pictures": 1})
    with pytest.raises(ValueError, match="pictures: got a run on copy:5:1, takes one on images"):
        training.train(config, found, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Early stopping


@pytest.fixture
def judged(monkeypatch):
    """Validation that goes 3, 2, 2.5, 2.6, 1: with patience 2 nobody sees the 1."""
    totals = [3.0, 2.0, 2.5, 2.6, 1.0, 0.5]
    seen = []

    def validate(task, panel):
        seen.append(len(seen))
        return {"total": totals[panel.optimizer_state()["step"] // 3 - 1]}

    monkeypatch.setattr(images.Images, "validate", validate)
    return seen


@pytest.mark.parametrize(("patience", "epochs"), [(None, 6), (1, 3), (2, 4), (3, 6)])
def test_training_ends_where_nothing_gets_better(judged, patience, epochs, tmp_path):
    found = dataset()
    config = config_for(found, epochs=6, patience=patience)
    outcome = training.train(config, found, tmp_path / "run")
    lines = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
    assert len(lines) == epochs and outcome.steps == 3 * epochs and not outcome.interrupted
    assert outcome.folder.last_file.exists()
    again = training.train(config, found, tmp_path / "run", resume=True)
    assert again.steps == outcome.steps and len(judged) == epochs


def test_a_killed_run_stops_where_it_would_have(judged, tmp_path, monkeypatch):
    found = dataset()
    config = config_for(found, epochs=6, patience=2, checkpoint_every=2)
    whole = training.train(config, found, tmp_path / "whole")
    judged.clear()
    with monkeypatch.context() as patch:
        KillAt(patch, 8)
        with pytest.raises(KilledError):
            training.train(config, found, tmp_path / "killed")
    resumed = training.train(config, found, tmp_path / "killed", resume=True)
    for a, b in zip(arrays_of(whole.folder), arrays_of(resumed.folder), strict=True):
        assert_same_arrays(a, b)
    assert without_times(whole.folder.metrics) == without_times(resumed.folder.metrics)


# Evaluation and samples


def test_a_run_is_judged_and_sampled(run, tmp_path):
    """By the command line, on the embedded digits: NLL, ELBO, and the error of reconstructions."""
    out = tmp_path / "run"
    small = [o for n, v in FIELDS.items() for o in ("--set", f"{n}={v}")]
    options = ["--data", "digits16", "--epochs", 1, "--batch-size", 400, "--out", out, *small]
    assert run("train", "conv_vae", *options)[0] == 0
    status, told, _ = run("evaluate", out, "--samples", 3, "--examples", 20)
    assert status == 0 and "bits/dim" in told and "RMSE/value" in told
    metrics = json.loads((out / "evaluation.json").read_text())
    assert metrics["test_elbo"] <= -metrics["test_nll"]
    pixels = 16 * 16
    assert metrics["test_bits_per_dim"] == pytest.approx(metrics["test_nll"] / pixels / np.log(2))
    status, told, _ = run("sample", out, "--count", 9)
    assert status == 0 and (out / "samples.png").exists()
    assert run("sample", out, "--count", 9, "--no-mean", "--out", tmp_path / "drawn.png")[0] == 0
    means, drawn = (imread(p)[..., 0] for p in (out / "samples.png", tmp_path / "drawn.png"))
    assert means.shape == drawn.shape and np.abs(means - drawn).max() > 0.1


def test_the_error_is_told_of_the_images_themselves(run, tmp_path):
    """Not of the black margin around 8 x 8 digits, nor of the range that tanh wants."""
    out = tmp_path / "run"
    fields = FIELDS | {"out_activation": "tanh"}
    small = [o for n, v in fields.items() for o in ("--set", f"{n}={v}")]
    options = ["--data", "digits", "--epochs", 1, "--batch-size", 400, "--out", out, *small]
    assert run("train", "conv_vae", *options)[0] == 0
    assert run("evaluate", out, "--samples", 1, "--device", "cpu")[0] == 0
    told = json.loads((out / "evaluation.json").read_text())["test_rmse"]
    config, _, panel = open_run(out)
    found = data.load("digits")
    pair, rows = pairs.get("conv_vae"), found.test.x
    batch = panel.array(pair.to_batch(panel.model.config, rows, found.image_shape))
    with panel.evaluating():
        recon = panel.model.reconstruct(batch).numpy()
    shown = pair.to_images(panel.model.config, recon, found.image_shape).reshape(rows.shape)
    assert told == pytest.approx(np.sqrt(((shown - rows) ** 2).mean()), rel=1e-5)


def test_a_loss_that_is_no_likelihood_has_no_nll(run, tmp_path):
    out = tmp_path / "run"
    small = [o for n, v in (FIELDS | {"recon_type": "mse"}).items() for o in ("--set", f"{n}={v}")]
    options = ["--data", "digits16", "--epochs", 1, "--batch-size", 400, "--out", out, *small]
    assert run("train", "conv_vae", *options)[0] == 0
    status, told, _ = run("evaluate", out)
    assert status == 0 and "NLL" not in told and "RMSE/value" in told
    status, _, told = run("evaluate", out, "--samples", 3)
    assert status == 1 and "samples: got 3, but this model's loss is no log-likelihood" in told


def test_the_error_of_reconstructions_is_what_it_says():
    found = dataset()
    config = config_for(found)
    for backend in BACKENDS:
        panel = training.build(dataclasses.replace(config, backend=backend))
        x = make_task(config, found).examples(panel, found.test.x)
        with panel.evaluating():
            recon = np.concatenate(
                [np.asarray(panel.model.reconstruct(panel.array(x[i : i + 1]))) for i in range(24)]
            )
        want = np.sqrt(((recon - x) ** 2).mean())
        assert reconstruction_error(panel, x, batch_size=7) == pytest.approx(want, rel=1e-6)
        assert panel.model.training
        inside = slice(2, 14)
        cropped = reconstruction_error(panel, x, 7, lambda a: 3 * a[:, :, inside, inside])
        want = 3 * np.sqrt(((recon - x)[:, :, inside, inside] ** 2).mean())
        assert cropped == pytest.approx(want, rel=1e-6)
        a, b = (elbo_terms(panel, x, Key(0), batch_size=n)["total"] for n in (7, 24))
        assert a == pytest.approx(b, rel=1e-6)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    found = dataset()
    first = training.train(config_for(found, epochs=1), found, tmp_path / "run")
    other = config_for(found, epochs=1, fields=FIELDS | {"latent_dim": 4})
    with pytest.raises(ValueError, match="cannot resume with other settings"):
        training.train(other, found, tmp_path / "run", resume=True)
    second = training.train(other, found, tmp_path / "other")
    second.folder.checkpoint_file.write_bytes(first.folder.checkpoint_file.read_bytes())
    before = RunFolder(tmp_path / "other").last_file.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint.*mu\.bias is \(3,\), takes \(4,\)|mu\.bias"):
        training.train(other, found, tmp_path / "other", resume=True)
    assert RunFolder(tmp_path / "other").last_file.read_bytes() == before


def test_a_fresh_config_is_valid():
    assert ConvVAEConfig().widest == 64 * 32 * 32
