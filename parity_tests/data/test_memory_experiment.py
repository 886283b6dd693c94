"""The memory experiment: its runs, its results and its table."""

import json

import numpy as np
import pytest
from rich.console import Console

from diptych import data, pairs
from diptych.study import memory
from diptych.study.memory import chance, memory_experiment, table
from model_specs.common.key import Key
from model_specs.rnn import RNNState
from numpy_ref.nn import random

SMALL = {
    "data": "copy:4:1",
    "schemes": ("none", "recurrent"),
    "seeds": (0, 1),
    "delays": (2, 4),
    "epochs": 1,
    "workers": 1,
    "fields": {"hidden_dim": 8},
}


def without_times(results):
    """Return results without durations and the description of the machine."""
    kept = json.loads(json.dumps(results))
    for name in ("seconds", "workers", "machine", "versions", "commit"):
        kept.pop(name, None)
    for result in kept["schemes"].values():
        result.pop("seconds")
    return kept


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """(folder, results) of a small experiment."""
    folder = tmp_path_factory.mktemp("memory")
    return folder, memory_experiment(folder, **SMALL)


def test_results_are_those_of_the_runs(experiment):
    folder, results = experiment
    assert json.loads((folder / "memory.json").read_text()) == json.loads(json.dumps(results))
    assert results["chance"] == 1 / 8 and results["settings"]["length"] == 4
    for scheme, result in results["schemes"].items():
        assert result["mean"] == pytest.approx(np.mean(result["accuracy"]))
        assert result["spread"] == pytest.approx(np.std(result["accuracy"], ddof=1))
        assert result["delays"]["4"] == result["accuracy"]  # the delay it was trained at
        assert result["diverged"] == [None, None]
        for i, (seed, curve) in enumerate(zip(SMALL["seeds"], result["curves"], strict=True)):
            run = json.loads((folder / f"{scheme}-{seed}" / "run.json").read_text())
            config = run["config"]["model_config"]
            assert config["scheme"] == scheme and config["hidden_dim"] == 8
            assert config["rate"] == (0 if scheme == "none" else 0.3)
            assert run["config"]["seed"] == seed
            lines = (folder / f"{scheme}-{seed}" / "metrics.jsonl").read_text().splitlines()
            epochs = [line for line in map(json.loads, lines) if line["kind"] == "epoch"]
            assert curve["accuracy"] == [line["valid"]["accuracy"] for line in epochs]
            assert curve["train_error"] == [line["train"]["error"] for line in epochs]
            assert curve["step"] == [100]
            assert result["seconds"][i] == epochs[-1]["seconds"] > 0
    runs = sum(sum(result["seconds"]) for result in results["schemes"].values())
    assert results["seconds"] > runs  # runs are sequential, and each is evaluated


def test_two_workers_give_the_results_of_one(experiment, tmp_path):
    assert without_times(memory_experiment(tmp_path, **SMALL | {"workers": 2})) == without_times(
        experiment[1]
    )


def test_finished_runs_are_read_and_runs_of_other_settings_refused(experiment):
    folder, results = experiment
    before = (folder / "none-0" / "metrics.jsonl").read_text()
    assert without_times(memory_experiment(folder, **SMALL)) == without_times(results)
    assert (folder / "none-0" / "metrics.jsonl").read_text() == before
    with pytest.raises(ValueError, match="none-0"):
        memory_experiment(folder, **SMALL | {"fields": {"hidden_dim": 9}})


def test_a_run_that_diverges_is_reported_and_not_averaged(tmp_path):
    huge = SMALL | {"run": {"lr": 1e38, "optimizer": "sgd", "clip": None}, "schemes": ("none",)}
    with np.errstate(all="ignore"):
        results = memory_experiment(tmp_path, **huge)
    result = results["schemes"]["none"]
    assert all(result["diverged"]) and result["mean"] is None and result["spread"] is None
    assert result["accuracy"] == [None, None] and result["curves"] == [None, None]
    assert "–" in _printed(results)


def test_the_table_has_a_row_for_each_scheme(experiment):
    printed = _printed(experiment[1])
    assert "copy:4:1" in printed and "chance 12.5" in printed
    for scheme, result in experiment[1]["schemes"].items():
        (row,) = [line for line in printed.splitlines() if line.strip().startswith(scheme + " ")]
        for number in (result["mean"], result["spread"], *result["accuracy"]):
            assert f"{100 * number:.1f}" in row


def test_chance_is_the_accuracy_of_guessing():
    assert chance(data.load("copy:100:1")) == 1 / 8
    sums = random.uniform(Key(5), (2, 400_000)).sum(0)
    accuracy = (np.abs(sums - 1) < memory.TOLERANCE).mean()
    p = chance(data.load("adding:100"))
    assert abs(accuracy - p) < 4 * (p * (1 - p) / sums.size) ** 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "topics"}, "data: got 'topics', takes copy or adding"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"schemes": ("none", "zoneout")}, "scheme: got 'zoneout'"),
        ({"model": "mlp_vae"}, "model: got 'mlp_vae'"),
        ({"workers": 0}, "workers: got 0"),
    ],
)
def test_an_error_names_the_bad_argument(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        memory_experiment(tmp_path / "new", **SMALL | change)
    assert not (tmp_path / "new").exists()


def test_symbols_are_encoded_as_orthogonal_vectors():
    task = data.load("copy:5:2")
    pair = pairs.get("rnn")
    for width in (task.symbols, 16, 32):
        config = pair.for_data(task, {"input_dim": width})
        ids = np.arange(task.symbols)[:, None]
        codes = pair.window(config, ids, ids, None, None).x[:, 0]
        assert codes.shape == (task.symbols, width) and codes.dtype == np.float32
        assert set(np.unique(codes)) == ({0, 1} if width == task.symbols else {-1, 1})
        np.testing.assert_array_equal(codes @ codes.T, codes[0] @ codes[0] * np.eye(task.symbols))


def test_initial_weights_preserve_the_signs_of_the_state():
    """Without input, most signs of the state survive the delay, and the values stay large."""
    task, pair = data.load("copy:100:1"), pairs.get("rnn")
    config = pair.for_data(task, memory.MODELS["rnn"].fields)
    signs = np.where(random.uniform(Key(5), (1, 40, config.hidden_dim)) < 0.5, -1.0, 1.0)
    zeros = np.zeros((task.length, 40, config.input_dim))
    _, last = pair.left(config, Key(6)).predict(zeros, RNNState(signs))
    assert (np.sign(last.h) == signs).mean() > 0.75
    assert np.abs(last.h).mean() > 0.9


@pytest.mark.parametrize("width", [8, 9, 12, 24])
def test_an_error_names_an_invalid_width(width):
    with pytest.raises(ValueError, match=f"input_dim: got {width}, takes 10 .* power of 2"):
        pairs.get("rnn").for_data(data.load("copy:5:2"), {"input_dim": width})


def _printed(results):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table(results))
    return capture.get()
