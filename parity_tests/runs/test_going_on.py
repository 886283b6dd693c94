"""A finished run stays unchanged, or goes on to more epochs as if it had been asked for them."""

import dataclasses
import json

import pytest
from helpers.short_runs import StopAt, arrays_of, assert_same_arrays, short_run, without_times

from diptych.panels import BACKENDS
from diptych.runs.folder import RunFolder, read_metrics
from diptych.training.train import train


def contents(folder):
    """Every file with its bytes and the time at which it was written."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def assert_same_run(ours, theirs):
    """The same weights, checkpoint, best weights and metrics, bit for bit."""
    for a, b in zip(arrays_of(ours), arrays_of(theirs), strict=True):
        assert_same_arrays(a, b)
    assert ours.best_file.read_bytes() == theirs.best_file.read_bytes()
    logs = [without_times(read_metrics(folder.metrics_file)) for folder in (ours, theirs)]
    assert logs[0] == logs[1]


def test_a_finished_run_is_left_unchanged(few_digits, tmp_path):
    first = train(short_run(epochs=2), few_digits, tmp_path / "run")
    before = contents(tmp_path / "run")
    again = train(short_run(epochs=2), few_digits, tmp_path / "run", resume=True)
    assert again.already_finished and not first.already_finished
    assert (again.steps, again.seconds) == (first.steps, first.seconds) and not again.interrupted
    other = short_run(epochs=2, checkpoint_every=77, log_every=5, pictures=1)
    assert train(other, few_digits, tmp_path / "run", resume=True).already_finished
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("change", ["missing", "older"])
def test_a_run_killed_before_its_last_file_is_not_taken_for_finished(few_digits, tmp_path, change):
    """The weights may be missing, or those of a run of fewer epochs that went on."""
    outcome = train(short_run(epochs=1, polyak=0.9), few_digits, tmp_path / "run")
    older = outcome.folder.last_file.read_bytes()
    run = short_run(epochs=2, polyak=0.9)
    train(run, few_digits, tmp_path / "run", resume=True)
    last = outcome.folder.last_file.read_bytes()
    assert last != older
    if change == "missing":
        outcome.folder.last_file.unlink()
    else:
        outcome.folder.last_file.write_bytes(older)
    again = train(run, few_digits, tmp_path / "run", resume=True)
    assert not again.already_finished and outcome.folder.last_file.read_bytes() == last


SCHEDULES = {
    "constant": {"schedule": "constant"},
    "constant-then-decay": {"schedule": "constant-then-decay", "constant_epochs": 1},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_more_epochs_end_as_an_uninterrupted_run(few_digits, tmp_path, backend, schedule):
    options = SCHEDULES[schedule] | {"backend": backend, "binarize": True, "polyak": 0.9}
    whole = train(short_run(epochs=5, **options), few_digits, tmp_path / "whole")
    for epochs in (2, 3, 5):
        outcome = train(
            short_run(epochs=epochs, **options), few_digits, tmp_path / "run", resume=True
        )
        assert outcome.steps == 3 * epochs and not outcome.already_finished
    assert_same_run(outcome.folder, whole.folder)
    assert outcome.folder.config() == whole.folder.config()
    assert len(outcome.folder.settings()["resumed"]) == 2


@pytest.mark.parametrize("schedule", ["cosine", "step", "exponential"])
def test_a_schedule_whose_past_would_change_is_refused(few_digits, tmp_path, schedule):
    train(short_run(epochs=2, schedule=schedule), few_digits, tmp_path / "run")
    before = contents(tmp_path / "run")
    message = f"epochs: got 4 for a run of 2 with schedule '{schedule}', whose earlier learning"
    with pytest.raises(ValueError, match=message):
        train(short_run(epochs=4, schedule=schedule), few_digits, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == before
    ours, theirs = (short_run(epochs=n, schedule=schedule) for n in (2, 4))
    assert [ours.lr_at(0), ours.lr_at(1)] != [theirs.lr_at(0), theirs.lr_at(1)]


def test_fewer_epochs_than_have_begun_are_refused(few_digits, tmp_path):
    train(short_run(epochs=2), few_digits, tmp_path / "run")
    with pytest.raises(ValueError, match="epochs: got 1 for a run in epoch 2, takes >= 2"):
        train(short_run(epochs=1), few_digits, tmp_path / "run", resume=True)


LATER = {
    "fewer epochs": {"epochs": 2},
    "a rate that decays from the third epoch on": {
        "schedule": "constant-then-decay",
        "constant_epochs": 2,
        "decay": 0.1,
    },
}


@pytest.mark.parametrize("change", LATER)
def test_settings_of_later_epochs_may_change(few_digits, tmp_path, monkeypatch, change):
    """A run that is stopped in its second of four epochs."""
    changed = short_run(**LATER[change])
    whole = train(changed, few_digits, tmp_path / "whole")
    with monkeypatch.context() as patch:
        StopAt(patch, 4)
        train(short_run(), few_digits, tmp_path / "run")
    if change != "fewer epochs":
        early = short_run(**LATER[change] | {"constant_epochs": 1})
        with pytest.raises(ValueError, match="cannot resume with other settings: schedule was"):
            train(early, few_digits, tmp_path / "run", resume=True)
    outcome = train(changed, few_digits, tmp_path / "run", resume=True)
    assert_same_run(outcome.folder, whole.folder)
    assert outcome.folder.config() == changed


def test_cadence_may_change_and_changes_no_weight(few_digits, tmp_path):
    """The folder then holds the new settings."""
    whole = train(short_run(epochs=3), few_digits, tmp_path / "whole")
    train(short_run(epochs=1), few_digits, tmp_path / "run")
    changed = short_run(epochs=3, checkpoint_every=1, log_every=7, patience=9, pictures=2)
    outcome = train(changed, few_digits, tmp_path / "run", resume=True)
    assert_same_run(outcome.folder, whole.folder)
    assert outcome.folder.config() == changed
    names = sorted(path.name for path in (tmp_path / "run" / "pictures").iterdir())
    assert names == ["reconstructions-0002.png", "samples-0002.png"]


def test_a_device_may_change(few_digits, tmp_path):
    """The folder of a run on a GPU is resumed on a CPU."""
    train(short_run(epochs=1), few_digits, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    settings = json.loads(file.read_text())
    settings["config"]["device"] = "cuda"
    file.write_text(json.dumps(settings))
    assert train(short_run(epochs=2), few_digits, tmp_path / "run", resume=True).steps == 6
    assert RunFolder(tmp_path / "run").config().device == "cpu"


def test_a_run_that_stopped_early_goes_on_with_more_patience(few_digits, tmp_path, monkeypatch):
    """Its validation gets worse after the first epoch, and better again at the fourth one."""
    losses = [3.0, 3.1, 3.2, 1.0, 1.1]
    monkeypatch.setattr(
        "diptych.tasks.images.Images.validate",
        lambda task, panel: {"total": losses[int(panel.optimizer_state()["step"]) // 3 - 1]},
    )
    impatient, patient = (short_run(epochs=5, patience=n) for n in (1, 3))
    assert train(impatient, few_digits, tmp_path / "run").steps == 6
    assert train(impatient, few_digits, tmp_path / "run", resume=True).already_finished
    longer = short_run(epochs=9, patience=1)
    assert train(longer, few_digits, tmp_path / "run", resume=True).already_finished
    outcome = train(patient, few_digits, tmp_path / "run", resume=True)
    whole = train(patient, few_digits, tmp_path / "whole")
    assert outcome.steps == 15
    assert_same_run(outcome.folder, whole.folder)


def test_settings_of_the_steps_cannot_change(few_digits, tmp_path):
    train(short_run(epochs=1), few_digits, tmp_path / "run")
    changes = {"lr": 0.5, "batch_size": 9, "clip": 1.0, "seed": 4, "dtype": "float64"}
    for name, value in changes.items():
        run = dataclasses.replace(short_run(epochs=1), **{name: value})
        with pytest.raises(ValueError, match=f"cannot resume with other settings: {name} was"):
            train(run, few_digits, tmp_path / "run", resume=True)


# From the command line


SMALL = ("--set", "hidden_dim=4", "--batch-size", 500)


def test_a_resumed_command_takes_missing_options_from_the_folder(run, tmp_path):
    out = tmp_path / "run"
    first = ("--lr", 0.02, "--seed", 3, "--backend", "numpy", "--epochs", 2, "--out", out, *SMALL)
    assert run("train", "mlp_vae", *first)[0] == 0
    before = contents(out)
    status, message, _ = run("train", "mlp_vae", "--resume", "--out", out)
    assert status == 0 and "finished already" in message and "--epochs" in message
    assert contents(out) == before
    status, message, _ = run("train", "mlp_vae", "--resume", "--epochs", 3, "--out", out)
    assert status == 0 and "9 steps" in message
    stored = RunFolder(out).config()
    assert (stored.lr, stored.seed, stored.backend, stored.epochs) == (0.02, 3, "numpy", 3)
    status, _, error = run("train", "mlp_vae", "--resume", "--lr", 0.5, "--out", out)
    assert status == 1 and "lr was 0.02, now 0.5" in error
    status, _, error = run("train", "mlp_vae", "--resume", "--set", "hidden_dim=5", "--out", out)
    assert status == 1 and "model_config was" in error


def test_a_preset_on_resume_has_to_be_that_of_the_run(run, tmp_path):
    out = tmp_path / "run"
    small = [o for f in ("maps=2", "decoder_maps=2", "masked_layers=2") for o in ("--set", f)]
    options = ("--epochs", 1, "--batch-size", 600, "--out", out, *small)
    assert run("train", "vlae", "--preset", "vlae-digits", *options)[0] == 0
    status, message, _ = run("train", "vlae", "--preset", "vlae-digits", *options, "--resume")
    assert status == 0 and "finished already" in message
    status, _, error = run("train", "vlae", "--preset", "vlae-digits-iaf", *options, "--resume")
    assert status == 1 and "cannot resume with other settings: model_config" in error
