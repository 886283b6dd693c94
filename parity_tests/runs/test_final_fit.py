"""A final fit, `--fit train+valid`: on which images, and what it leaves."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.short_runs import arrays_of, assert_same_arrays, killed_and_resumed, short_run
from helpers.small_text_runs import make_corpus, make_run

from diptych import data
from diptych.commands.curves import compare_runs
from diptych.commands.open import open_run
from diptych.data import Split
from diptych.display import Console
from diptych.panels import BACKENDS
from diptych.runs import results
from diptych.runs.folder import RunFolder
from diptych.runs.tables.trained import compared
from diptych.tasks import make_task
from diptych.training.train import build, train

DIGITS = data.load("digits")
FEW = dataclasses.replace(
    DIGITS,
    train=Split(DIGITS.train.x[:70], DIGITS.train.y[:70]),
    valid=Split(DIGITS.valid.x[:9], DIGITS.valid.y[:9]),
)
BOTH = Split(np.concatenate([FEW.train.x, FEW.valid.x]))
FINAL = {"fit": "train+valid"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_epoch_has_each_image_of_both_sets_once(backend):
    config = short_run(backend=backend, **FINAL)
    task, panel = make_task(config, FEW), build(config)
    rows = np.concatenate([task.batch(panel, 1, i) for i in range(task.steps_per_epoch)])
    assert sorted(map(bytes, rows)) == sorted(map(bytes, BOTH.x))
    alone = make_task(short_run(backend=backend), FEW)
    assert len(alone.training_rows) == 70 and len(task.training_rows) == 79


@pytest.mark.parametrize("resident", [False, True])
def test_it_ends_in_the_weights_of_a_run_whose_training_set_is_both(resident, tmp_path):
    union = dataclasses.replace(FEW, train=BOTH)
    final = train(short_run(**FINAL), FEW, tmp_path / "final", resident=resident)
    ordinary = train(short_run(), union, tmp_path / "ordinary", resident=resident)
    (weights, _), (expected, _) = (arrays_of(outcome.folder) for outcome in (final, ordinary))
    assert_same_arrays(weights, expected)


def test_no_epoch_is_validated_and_none_is_the_best(tmp_path):
    folder = train(short_run(**FINAL), FEW, tmp_path / "run").folder
    lines = folder.history().epochs
    assert len(lines) == 4 and all(line["valid"] == {} and line["train"] for line in lines)
    assert folder.last_file.exists() and not folder.best_file.exists()
    _, _, panel = open_run(folder.path)
    last = arrays_of(folder)[0]
    assert_same_arrays({name: panel.weights()[name] for name in last}, last)


def test_a_killed_final_fit_resumes_to_the_same_arrays(monkeypatch, tmp_path):
    killed_and_resumed(monkeypatch, short_run(**FINAL), FEW, tmp_path, steps=5)
    with pytest.raises(ValueError, match="fit was 'train\\+valid', now 'train'"):
        train(short_run(), FEW, tmp_path / "cut", resume=True)


def test_the_commands_read_a_final_fit(run, tmp_path):
    sides = [tmp_path / backend for backend in BACKENDS]
    for backend, out in zip(BACKENDS, sides, strict=True):
        options = ["--epochs", 2, "--backend", backend, "--fit", "train+valid", "--out", out]
        status, message, _ = run("train", "mlp_vae", "--data", "digits", *options)
        assert status == 0 and "uniform" not in message
    record = tmp_path / "result.json"
    status, message, _ = run("evaluate", sides[1], "--samples", 2, "--record", record)
    assert status == 0 and "were fitted" not in message
    status, message, _ = run("evaluate", sides[1], "--samples", 2, "--split", "valid")
    assert status == 0 and "The weights were fitted to these images." in message
    assert json.loads(record.read_text())["metrics"]["history"] == []
    assert run("verify", *sides)[0] == 0
    compare_runs(*sides, out=None, record=tmp_path / "curves.json", console=Console(quiet=True))
    curves = results.read(tmp_path / "curves.json")
    assert curves["metrics"]["relative_difference_train_epochs"] < 1e-4
    assert "relative_difference_valid_epochs" not in curves["metrics"]
    row = compared([curves | {"command": "diptych curves left right"}]).splitlines()[4]
    assert row.split(" | ")[3] == "–", "a final fit has no validation"


@pytest.mark.parametrize("final", [False, True])
def test_validations_that_do_not_fit_the_run_are_damage(final, tmp_path):
    folder = train(short_run(**(FINAL if final else {})), FEW, tmp_path / "run").folder
    folder.checkpoint_file.unlink()  # it counts the lines
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "epoch":
            line["valid"] = {"total": 1.0} if final else {}
    folder.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match=r"metrics\.jsonl: damaged: valid"):
        RunFolder(folder.path).history()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": "valid"}, r"fit: got 'valid', takes one of 'train', 'train\+valid'"),
        (FINAL | {"patience": 1}, r"patience: got 1 with fit 'train\+valid', takes None"),
    ],
)
def test_a_setting_that_no_final_fit_has_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        short_run(**changes)


def test_a_text_has_no_final_fit(tmp_path):
    corpus = make_corpus()
    config = dataclasses.replace(make_run("lstm", corpus), **FINAL)
    with pytest.raises(ValueError, match=r"fit: got 'train\+valid' with data 'toy', takes 'train'"):
        train(config, corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()
