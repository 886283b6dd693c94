"""Ablations and records of runs: one field at a time, and whole or not at all."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from diptych import data
from diptych.exercises import RunRecorder, ablate, evaluate, fit
from diptych.panels import BACKENDS, make_panel
from diptych.runs.config import RunConfig
from diptych.runs.environment import environment
from diptych.runs.folder import read_metrics
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig

CONFIG = MLPVAEConfig(64, 8, 2, init="torch")


def recorded(log):
    """A run that only remembers its config."""

    def run(config):
        log.append(config)
        return {"beta": config.beta, "width": config.hidden_dim, "note": "no number", "yes": True}

    return run


def test_one_field_at_a_time():
    log = []
    result = ablate(CONFIG, "beta", (0, 4.0), recorded(log))
    assert log[0] is CONFIG
    assert log[1:] == [dataclasses.replace(CONFIG, beta=beta) for beta in (0, 4.0)]
    assert result.field == "beta" and result.values == (1.0, 0, 4.0)
    assert result.results == tuple({"beta": b, "width": 8.0} for b in (1, 0, 4))


def test_the_table_has_a_row_a_run_and_a_column_a_number():
    results = iter([{"a": 1.25}, {"a": 2, "b": 3}])
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(ablate(CONFIG, "hidden_dim", [16], lambda config: next(results)).table())
    lines = [
        [cell.strip() for cell in line.split("│")] for line in console.export_text().split("\n")
    ]
    assert ["", "8 (as it was)", "1.25", "-", ""] in lines and ["", "16", "2", "3", ""] in lines


@pytest.mark.parametrize(
    "config, field, values, message",
    [
        (CONFIG, "betta", [2], "field: got 'betta', takes one of input_dim, .*did you mean 'beta'"),
        (CONFIG, "beta", [], "values: got none, takes other values of beta than 1.0"),
        (CONFIG, "beta", [2, 2.0], "values: got 2.0 twice"),
        (CONFIG, "beta", [2, 1], "values: got 1 twice, or once and as it was"),
        (CONFIG, "beta", [2, -1], "^beta: got -1"),
        (CONFIG, "posterior", ["sigma", "cauchy"], "posterior: got 'cauchy', takes one of"),
        ({"beta": 1}, "beta", [2], "config: got {'beta': 1}, takes a dataclass"),
        (MLPVAEConfig, "beta", [2], "config: got <class"),
    ],
)
def test_a_wrong_ablation_is_refused_before_the_first_run(config, field, values, message):
    log = []
    with pytest.raises(ValueError, match=message):
        ablate(config, field, values, recorded(log))
    assert not log


def test_a_run_without_numbers_is_named():
    for result in (None, {}, {"loss": "low"}, 3.5):
        with pytest.raises(ValueError, match=r"run: returned .*, takes one that returns numbers"):
            ablate(CONFIG, "beta", [2], lambda config, result=result: result)


def test_an_ablation_of_beta_is_the_same_on_both_panels():
    """And says what is known: the more the KL weighs, the less of it, and the worse the images."""
    x = data.load("digits").train.x[:100]

    def run(config, backend):
        panel = make_panel("mlp_vae", config, backend, key=Key(3), dtype="float64")
        fit(panel, x, Key(3), epochs=10, batch_size=20, lr=1e-2)
        return evaluate(panel, x, Key(3)).numbers()

    ours, theirs = (
        ablate(CONFIG, "beta", [0.1, 10.0], lambda config, b=backend: run(config, b))
        for backend in BACKENDS
    )
    for a, b in zip(ours.results, theirs.results, strict=True):
        assert a == pytest.approx(b, rel=1e-9)
    as_it_was, little, much = ours.results
    assert much["kl"] < as_it_was["kl"] < little["kl"]
    assert little["rmse"] < as_it_was["rmse"] < much["rmse"]


# Records


def test_a_record_holds_what_was_asked_for_and_what_came_out(tmp_path):
    path = tmp_path / "runs" / "mine"
    with RunRecorder(path, CONFIG, seed=5) as record:
        assert not path.exists(), "half a record is none"
        record.log(step=0, loss=np.float32(0.5), norms=np.array([1.0, 2.0]))
        record.log(step=np.int64(1), loss=0.25)
    run = json.loads((path / "run.json").read_text())
    assert run["config"] == vars(CONFIG) and run["seed"] == 5
    assert {name: run[name] for name in environment()} == environment()
    assert run["versions"]["numpy"] == np.__version__ and "commit" in run
    assert run["seconds"] > 0
    assert read_metrics(path / "metrics.jsonl") == [
        {"step": 0, "loss": 0.5, "norms": [1.0, 2.0]},
        {"step": 1, "loss": 0.25},
    ]
    assert {p.name for p in path.iterdir()} == {"run.json", "metrics.jsonl"}
    assert [p.name for p in path.parent.iterdir()] == ["mine"], "nothing is left beside it"
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_half_written(tmp_path, error):
    with pytest.raises(error), RunRecorder(tmp_path / "mine", CONFIG, 0) as record:
        record.log(step=0)
        raise error
    assert not list(tmp_path.iterdir())
    with RunRecorder(tmp_path / "mine", CONFIG, 0) as record:  # so that the place is free
        record.log(step=0)
    assert (tmp_path / "mine" / "run.json").exists()


def test_a_failing_end_leaves_nothing_either(tmp_path, monkeypatch):
    def broken():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diptych.exercises.recorder.environment", broken)
    with (
        pytest.raises(ValueError, match=r"mine: cannot be written.*No space"),
        RunRecorder(tmp_path / "mine", CONFIG, 0),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path):
    with RunRecorder(tmp_path / "mine", CONFIG, 0) as record:
        record.log(step=0)
    before = {p: p.read_bytes() for p in (tmp_path / "mine").iterdir()}
    with (
        pytest.raises(ValueError, match="mine: holds a run already, takes a new folder"),
        RunRecorder(tmp_path / "mine", CONFIG, 1),
    ):
        pytest.fail("the block must not begin")
    assert {p: p.read_bytes() for p in (tmp_path / "mine").iterdir()} == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    (tmp_path / "file").touch()
    for name, what in (("notes", "other files"), ("file", "a file")):
        with pytest.raises(ValueError, match=f"{name}: holds {what} already"):
            RunRecorder(tmp_path / name, CONFIG, 0).__enter__()
    assert {p.name for p in tmp_path.iterdir()} == {"mine", "notes", "file"}


def test_of_two_records_of_one_folder_the_first_stays(tmp_path):
    (tmp_path / "mine").mkdir()  # empty: it may be taken
    with (
        pytest.raises(ValueError, match="mine: holds a run already"),
        RunRecorder(tmp_path / "mine", CONFIG, 0) as slow,
    ):
        slow.log(who="slow")
        with RunRecorder(tmp_path / "mine", CONFIG, 0) as fast:
            fast.log(who="fast")
    assert read_metrics(tmp_path / "mine" / "metrics.jsonl") == [{"who": "fast"}]
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "config, seed, message",
    [
        (CONFIG, -1, "seed: got -1"),
        (CONFIG, 0.5, "seed: got 0.5"),
        (3, 0, "config: got 3, takes a dataclass or a mapping"),
        ({"model": object()}, 0, "config: got .*, takes what JSON can hold"),
        ({"lr": float("nan")}, 0, "config: got .*, takes what JSON can hold"),
    ],
)
def test_what_cannot_be_recorded_is_refused(tmp_path, config, seed, message):
    with pytest.raises(ValueError, match=message):
        RunRecorder(tmp_path / "mine", config, seed)
    assert not list(tmp_path.iterdir())


def test_bad_metrics_are_refused(tmp_path):
    record = RunRecorder(tmp_path / "mine", {"path": Path("a")}, 0)
    with pytest.raises(ValueError, match="mine: is not being recorded"):
        record.log(step=0)
    with record:
        for bad in (float("nan"), np.float32("inf"), object()):
            with pytest.raises(ValueError, match=r"metrics: got .*, takes what JSON can hold"):
                record.log(loss=bad)
        record.log(loss=1.0)
    assert read_metrics(tmp_path / "mine" / "metrics.jsonl") == [{"loss": 1.0}]
    with pytest.raises(ValueError, match="mine: is not being recorded"):
        record.log(step=1)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="mine: cannot be written"):
        RunRecorder(tmp_path / "file" / "mine", CONFIG, 0).__enter__()


def test_the_config_of_a_run_may_be_recorded(tmp_path):
    config = RunConfig("mlp_vae", vars(CONFIG), "digits", seed=3)
    with RunRecorder(tmp_path / "mine", config, config.seed):
        pass
    message = json.loads((tmp_path / "mine" / "run.json").read_text())["config"]
    assert RunConfig(**message) == config
