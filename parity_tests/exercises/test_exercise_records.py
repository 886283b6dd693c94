"""Ablations, one field at a time, and records of runs that `diptych evaluate` reads."""

import dataclasses
import io
import json

import pytest
from helpers.small_text_runs import write_text
from rich.console import Console

import diptych
from diptych import data, weights
from diptych.exercises import RunFolder, ablate, evaluate, fit
from diptych.panels import BACKENDS, make_panel
from diptych.runs.config import RunConfig
from diptych.runs.environment import environment
from diptych.runs.folder import read_metrics
from diptych.training.train import build, train
from model_specs.common.key import Key
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig

CONFIG = MLPVAEConfig(64, 8, 2, init="torch")


def small_lstm(corpus):
    return LSTMConfig(
        vocab_size=len(corpus.vocabulary), embedding_dim=3, hidden_dim=4, num_layers=1, seq_len=5
    )


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
    assert ["", "8 (unchanged)", "1.25", "-", ""] in lines and ["", "16", "2", "3", ""] in lines


@pytest.mark.parametrize(
    "config, field, values, message",
    [
        (CONFIG, "betta", [2], "field: got 'betta', takes one of input_dim, .*did you mean 'beta'"),
        (CONFIG, "beta", [], "values: got none, takes other values of beta than 1.0"),
        (CONFIG, "beta", [2, 2.0], "values: got 2.0 twice"),
        (CONFIG, "beta", [2, 1], "values: got 1 twice, or once and unchanged"),
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
    """The larger beta, the smaller the KL term and the worse the reconstructions."""
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


@pytest.mark.parametrize("model", ["mlp_vae", "lstm"])
def test_a_recorded_run_is_evaluated_as_any_other(run, tmp_path, model):
    """`diptych evaluate` reads the folder, and finds the numbers of a run of `diptych train`."""
    settings = {"epochs": 2, "batch_size": 400, "lr": 1e-2, "seed": 5}
    if model == "mlp_vae":
        name, fields, options = "digits", vars(CONFIG), ["--samples", 3]
        dataset = data.load(name)
        x = dataset.train.x
    else:
        name = f"text:{write_text(tmp_path / 'a.txt')}"
        dataset, settings["batch_size"] = data.load(name), 4
        fields, options = vars(small_lstm(dataset)), []
        x = dataset.train
    config = RunConfig(model, fields, name, log_every=1, **settings)
    recorded, trained = RunFolder(tmp_path / "recorded"), tmp_path / "trained"
    panel = build(config)
    recorded.begin(config, dataset, resume=False)
    history = fit(panel, x, Key(5), epochs=2, batch_size=config.batch_size, lr=1e-2)
    for line in history.lines():
        recorded.log(line)
    weights.save(panel.model, recorded.last_file)

    outcome = train(config, dataset, trained)
    steps = [line for line in outcome.folder.metrics if line["kind"] == "step"]
    lines = read_metrics(recorded.metrics_file)
    assert len(lines) == len(steps) > 1
    for ours, theirs in zip(lines, steps, strict=True):
        assert ours.items() >= theirs.items() and ours["grad_norm"] > 0 and ours["lr"] == 1e-2
    results = []
    for folder in (recorded.path, trained):
        status, out, _ = run("evaluate", folder, "--last", *options)
        assert status == 0, out
        results.append(json.loads((folder / "evaluation.json").read_text()))
    assert {k: v for k, v in results[0].items() if k.startswith("test_")} == {
        k: v for k, v in results[1].items() if k.startswith("test_")
    }


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path, few_digits):
    config = RunConfig("mlp_vae", vars(CONFIG), "digits", seed=3)
    RunFolder(tmp_path / "mine").begin(config, few_digits, resume=False)
    before = (tmp_path / "mine" / "run.json").read_bytes()
    settings = json.loads(before)
    assert RunConfig(**settings["config"]) == config
    assert {name: settings[name] for name in environment()} == environment()
    assert settings["versions"]["diptych"] == diptych.__version__
    with pytest.raises(ValueError, match="mine: holds a run already"):
        RunFolder(tmp_path / "mine").begin(config, few_digits, resume=False)
    assert (tmp_path / "mine" / "run.json").read_bytes() == before
