"""Training on images of any shape: how they reach the model, pictures, early stopping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.short_runs import (
    KillAt,
    KilledError,
    StopAt,
    arrays_of,
    killed_and_resumed,
    without_times,
)
from helpers.small_image_runs import FIELDS, config_for, dataset
from matplotlib.image import imread
from rich.console import Console

from diptych import data, pairs
from diptych.commands.curves import compare_runs
from diptych.panels import BACKENDS
from diptych.runs.folder import RunFolder
from diptych.tasks import images, make_task
from diptych.training.presets import settings
from diptych.training.train import NonFiniteError, build, train
from model_specs.common.key import Key
from model_specs.conv_vae import ConvVAEConfig

# How images reach the model


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 20, 33), (2, 16, 16)])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "none"])
def test_images_fit_the_model_and_come_back(shape, activation):
    """Images get the range of the activation, and a black margin to the next multiple of 16."""
    result = dataset(shape, count=5)
    pair = pairs.get("conv_vae")
    config = pair.for_data(result, FIELDS | {"out_activation": activation})
    rows = result.train.x
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
    ("overrides", "message"),
    [
        ({"image_size": 64}, "image_size: got 64, takes 16 for squares"),
        ({"in_channels": 1}, "in_channels: got 1, takes 3 for squares"),
    ],
)
def test_a_model_of_other_images_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        config_for(dataset(), fields=FIELDS | overrides)


def test_a_text_is_no_image():
    with pytest.raises(ValueError, match="data: got copy:5:1, conv_vae takes images"):
        settings("conv_vae", "copy:5:1", data.load("copy:5:1"), None, {}, {})


def test_colour_takes_the_papers_size_and_grey_less():
    colour, grey = (pairs.get("conv_vae").for_data(dataset((c, 32, 32)), {}) for c in (3, 1))
    assert (colour.base_channels, colour.latent_dim) == (64, 128)
    assert grey.base_channels < 64 and grey.latent_dim < 128
    assert colour.recon_type == "gaussian" and pairs.traits(colour).likelihood


# Training


@pytest.mark.parametrize(
    ("size", "sizes"), [(8, [8, 8, 8]), (10, [10, 10, 5]), (12, [12, 13]), (24, [25]), (40, [25])]
)
def test_no_batch_has_one_image(size, sizes):
    """All of them once an epoch; a rest of one joins the batch before it."""
    count = sum(sizes)
    result = dataset((1, 2, 2), count=count)
    config = settings("mlp_vae", "x", result, None, {}, {"batch_size": size})
    panel, task = build(config), make_task(config, result)
    batches = [task.batch(panel, 3, i) for i in range(task.steps_per_epoch)]
    assert [len(batch) for batch in batches] == sizes
    rows = np.concatenate(batches)
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(result.train.x[:, 0]))
    assert (rows != result.train.x).any()


def test_a_batch_of_one_cannot_be_normalised(tmp_path):
    """A model whose codes are 1 x 1 refuses it before the folder is claimed."""
    result = dataset()
    for backend in BACKENDS:
        config = config_for(result, batch_size=1, backend=backend)
        with pytest.raises(ValueError, match="batch_size: got 1 of squares, conv_vae takes 2"):
            train(config, result, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    larger = dataset((1, 32, 32), count=3)
    config = config_for(larger, batch_size=1, epochs=1)
    assert train(config, larger, tmp_path / "run").steps == 3


def test_a_validation_that_is_nan_ends_the_run(tmp_path, monkeypatch):
    result = dataset()
    monkeypatch.setattr(images.Images, "validate", lambda *_: {"total": float("nan")})
    with pytest.raises(NonFiniteError, match="step 3: total on validation is nan"):
        train(config_for(result), result, tmp_path / "run")


def test_a_run_interrupted_at_its_end_is_whole(tmp_path, monkeypatch):
    result = dataset()
    StopAt(monkeypatch, 6)
    outcome = train(config_for(result), result, tmp_path / "run")
    assert outcome.steps == 6 and not outcome.interrupted


def test_one_image_alone_is_a_batch_of_a_model_that_bears_it(tmp_path):
    result = dataset((1, 2, 2), count=1)
    config = settings("mlp_vae", "squares", result, None, {}, {"epochs": 2})
    assert train(config, result, tmp_path / "run").steps == 2


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_both_panels_train_alike(activation, tmp_path):
    result = dataset()
    ends = []
    for backend in BACKENDS:
        config = config_for(result, backend=backend, fields=FIELDS | {"out_activation": activation})
        ends.append(train(config, result, tmp_path / backend))
    for a, b in zip(*(end.folder.metrics for end in ends), strict=True):
        assert a.keys() == b.keys()
        if a["kind"] == "step":
            assert a["total"] == pytest.approx(b["total"], rel=1e-10)
        else:
            assert a["valid"] == pytest.approx(b["valid"], rel=1e-10)
    left, right = (arrays_of(end.folder)[0] for end in ends)
    for name, array in left.items():
        np.testing.assert_allclose(array, right[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_images_are_binarised_before_they_are_scaled_to_the_range_of_tanh(monkeypatch):
    """tanh: a 0 is -1."""
    result = dataset()
    config = config_for(result, binarize=True, fields=FIELDS | {"out_activation": "tanh"})
    panel, task = build(config), make_task(config, result)
    batch = task.prepare(panel, task.batch(panel, 0, 0), Key(1), None)
    assert set(np.unique(batch)) == {-1, 1}
    assert 0.4 < (batch > 0).mean() < 0.6


def test_pictures_of_the_epochs_that_were_asked_for(tmp_path):
    result = dataset()
    outcome = train(config_for(result, epochs=5, pictures=2), result, tmp_path / "run")
    folder = outcome.folder.path / "pictures"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{n}-000{e}.png" for n in ("reconstructions", "samples") for e in (2, 4)]
    early, late = (imread(folder / f"samples-000{e}.png")[..., :3] for e in (2, 4))
    assert early.shape == late.shape and (early != late).any()  # it has learned
    assert (np.ptp(late, axis=2) > 0.02).any()  # in colour


def test_pictures_show_what_the_model_sees(tmp_path):
    """Originals in the upper row, through the margin and the range, and back."""
    result = dataset((1, 12, 12))
    config = config_for(result, fields=FIELDS | {"out_activation": "tanh"})
    panel, task = build(config), make_task(config, result)
    axis = task.pictures(panel)["reconstructions"].axes[0]
    shown = [np.asarray(image.get_array()) for image in axis.images[:16]]
    want = result.valid.x[:16].reshape(16, 12, 12)
    np.testing.assert_allclose(shown, want, atol=1e-6)


def test_a_text_has_no_pictures(tmp_path):
    result = data.load("copy:5:1")
    config = settings("lstm", "copy:5:1", result, None, {}, {"pictures": 1})
    with pytest.raises(ValueError, match="pictures: got a run on copy:5:1, takes one on images"):
        train(config, result, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Early stopping


@pytest.fixture
def validations(monkeypatch):
    """Validation that goes 3, 2, 2.5, 2.6, 1: with patience 2 nobody sees the 1."""
    totals = [3.0, 2.0, 2.5, 2.6, 1.0, 0.5]
    calls = []

    def validate(task, panel):
        calls.append(len(calls))
        return {"total": totals[panel.optimizer_state()["step"] // 3 - 1]}

    monkeypatch.setattr(images.Images, "validate", validate)
    return calls


@pytest.mark.parametrize(("patience", "epochs"), [(None, 6), (1, 3), (2, 4), (3, 6)])
def test_training_ends_where_nothing_gets_better(validations, patience, epochs, tmp_path):
    result = dataset()
    config = config_for(result, epochs=6, patience=patience)
    outcome = train(config, result, tmp_path / "run")
    lines = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
    assert len(lines) == epochs and outcome.steps == 3 * epochs and not outcome.interrupted
    assert outcome.folder.last_file.exists() and outcome.folder.remark() is None
    again = train(config, result, tmp_path / "run", resume=True)
    assert again.steps == outcome.steps and len(validations) == epochs


def test_a_killed_run_stops_where_it_would_have(validations, tmp_path, monkeypatch):
    result = dataset()
    config = config_for(result, epochs=6, patience=2, checkpoint_every=2)
    resumed, whole = killed_and_resumed(monkeypatch, config, result, tmp_path, 8)
    assert without_times(whole.folder.metrics) == without_times(resumed.folder.metrics)


def test_runs_that_stopped_early_are_compared_as_far_as_they_went(
    validations, tmp_path, monkeypatch
):
    result, paths = dataset(), {b: tmp_path / b for b in BACKENDS}
    for backend, path in paths.items():
        config = config_for(result, epochs=6, patience=1, backend=backend)
        train(config, result, path)
    quiet: dict[str, Any] = {"out": None, "record": None, "console": Console(quiet=True)}
    metrics = compare_runs(*paths.values(), **quiet)
    assert metrics["epochs"] == 3
    assert metrics["relative_difference_all_logged_steps"] <= 1e-10
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        KillAt(patch, 8)
        train(config, result, tmp_path / "killed")
    assert "it has 2 of 6 epochs" in str(RunFolder(tmp_path / "killed").remark())
    with pytest.raises(ValueError, match="killed: has 2 of 3 epochs, takes a finished run"):
        compare_runs(paths["numpy"], tmp_path / "killed", **quiet)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    result = dataset()
    first = train(config_for(result, epochs=1), result, tmp_path / "run")
    other = config_for(result, epochs=1, fields=FIELDS | {"latent_dim": 4})
    with pytest.raises(ValueError, match="cannot resume with other settings"):
        train(other, result, tmp_path / "run", resume=True)
    second = train(other, result, tmp_path / "other")
    second.folder.checkpoint_file.write_bytes(first.folder.checkpoint_file.read_bytes())
    before = RunFolder(tmp_path / "other").last_file.read_bytes()
    with pytest.raises(ValueError, match="damaged: its first 4 lines are not those that the check"):
        train(other, result, tmp_path / "other", resume=True)
    second.folder.metrics_file.write_bytes(first.folder.metrics_file.read_bytes())
    with pytest.raises(ValueError, match=r"checkpoint.*mu\.bias is \(3,\), takes \(4,\)|mu\.bias"):
        train(other, result, tmp_path / "other", resume=True)
    assert RunFolder(tmp_path / "other").last_file.read_bytes() == before


def test_a_fresh_config_is_valid():
    assert pairs.traits(ConvVAEConfig()).memory.widest == 64 * 32 * 32
