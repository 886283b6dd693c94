"""The command line: what each command prints and writes, and its exit status."""

import dataclasses
import functools
import importlib
import json

import pytest
from matplotlib.figure import Figure
from rich.table import Table

import diptych
from diptych import data, lab, study
from diptych.cli import main
from diptych.lab import Findings
from diptych.pairs import PAIRS
from diptych.runs.results import FIELDS
from diptych.site.build import Site
from diptych.study import memory
from numpy_ref.nn import random
from numpy_ref.nn.functional import ReLU


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a short run on each backend."""
    folder = tmp_path_factory.mktemp("runs")
    for backend in ("numpy", "torch"):
        with pytest.raises(SystemExit) as done:
            main(
                [
                    "train",
                    "mlp_vae",
                    "--backend",
                    backend,
                    "--epochs",
                    "3",
                    "--out",
                    str(folder / backend),
                ]
            )
        assert not done.value.code
    return folder


def test_check_agrees_and_its_json_has_the_documented_keys(run, tmp_path):
    status, out, _ = run("check", "mlp_vae", "--json", tmp_path / "c.json", "--dtype", "float64")
    assert status == 0 and "agrees" in out and "DIVERGES" not in out
    message = json.loads((tmp_path / "c.json").read_text())
    names = [pair["name"] for pair in message["pairs"]]
    assert names[0] == "mlp_vae" and "mlp_vae[gaussian]" in names
    for pair in message["pairs"]:
        assert set(pair) == {"name", "dtype", "device", "ok", "tensors", "worst", "masks_equal"}
        assert pair["ok"] is True and pair["masks_equal"] is None and pair["tensors"] > 50
        assert pair["worst"]["error"] <= 1e-13 and isinstance(pair["worst"]["tensor"], str)


def test_check_of_everything_compares_the_random_streams_too(run, tmp_path, monkeypatch):
    status, *_ = run("check", "random", "--json", tmp_path / "c.json", "--dtype", "float32")
    (message,) = json.loads((tmp_path / "c.json").read_text())["pairs"]
    assert status == 0 and message["name"] == "random" and message["masks_equal"] is True
    monkeypatch.setattr(random, "keep_threshold", lambda rate: round((1 - rate) * 2**32))
    status, out, _ = run("check", "random")
    assert status == 1 and "DIFFER" in out
    assert "random: dropout_mask, rate 0.3: noise differs in " in out


def test_check_of_one_variant_shows_every_tensor(run):
    status, out, _ = run("check", "mlp_vae[tanh]", "-v", "--dtype", "float32")
    assert status == 0 and "posterior.reparameterize(logvar)" in out


def test_check_that_diverges_exits_1_and_names_the_tensor(run, monkeypatch, tmp_path):
    monkeypatch.setattr(ReLU, "forward", lambda self, x: (abs(x), lambda dy: dy))
    status, out, _ = run("check", "mlp_vae", "--json", tmp_path / "c.json")
    assert status == 1 and "DIVERGES" in out
    assert "mlp_vae: encoder_activation: output off by " in out and "FAIL root cause" in out
    assert json.loads((tmp_path / "c.json").read_text())["pairs"][0]["ok"] is False


def test_train_evaluate_and_sample(run, trained, tmp_path):
    for backend in ("numpy", "torch"):
        record = tmp_path / f"{backend}.json"
        status, out, _ = run("evaluate", trained / backend, "--samples", 8, "--record", record)
        assert status == 0 and "NLL" in out and "bits/dim" in out
        message = json.loads(record.read_text())
        assert list(message) == list(FIELDS) and message["metrics"]["test_samples"] == 8
        assert (trained / backend / "evaluation.json").exists()
        status, out, _ = run("sample", trained / backend, "--count", 9, "--out", tmp_path / "s.png")
        assert status == 0 and (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    a, b = (json.loads((tmp_path / f"{x}.json").read_text())["metrics"] for x in ("numpy", "torch"))
    assert a["test_nll"] == pytest.approx(b["test_nll"], rel=1e-4)


def test_resuming_a_finished_run_changes_nothing(run, trained):
    before = (trained / "torch" / "weights.safetensors").read_bytes()
    status, *_ = run("train", "mlp_vae", "--epochs", 3, "--out", trained / "torch", "--resume")
    assert status == 0 and (trained / "torch" / "weights.safetensors").read_bytes() == before


def test_a_resumed_run_keeps_its_settings_and_may_go_on(run, trained, tmp_path):
    """No option but --out: settings come from the folder. More epochs end as in one long run."""
    short, long = tmp_path / "short", tmp_path / "long"
    options = (
        "--epochs",
        1,
        "--lr",
        0.01,
        "--seed",
        5,
        "--set",
        "hidden_dim=7",
        "--batch-size",
        99,
    )
    assert run("train", "mlp_vae", "--out", short, *options)[0] == 0
    assert run("train", "mlp_vae", "--out", long, *options, "--epochs", 2)[0] == 0
    before = json.loads((short / "run.json").read_text())["config"]
    status, out, _ = run("train", "mlp_vae", "--resume", "--out", short)
    assert status == 0 and "this run is finished already" in out
    assert json.loads((short / "run.json").read_text())["config"] == before
    status, *_ = run("train", "mlp_vae", "--resume", "--out", short, "--epochs", 2)
    assert status == 0
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (short, long)]
    assert weights[0] == weights[1]
    status, _, err = run("train", "mlp_vae", "--resume", "--out", short, "--lr", 0.1)
    assert status == 1 and "lr was 0.01, now 0.1" in err
    status, _, err = run("train", "vlae", "--resume", "--out", short)
    assert status == 1 and "model: got 'vlae'" in err and "trains 'mlp_vae'" in err


ERRORS = [
    (["trian", "mlp_vae"], 2, "Did you mean 'train'"),
    (["check", "mpl_vae"], 1, "did you mean 'mlp_vae'"),
    (["check", "rnadom"], 1, "did you mean 'random'"),
    (["check", "mlp_vae[tanh"], 1, "takes pair or pair[variant]"),
    (["check", "--dtype", "float"], 1, "error: --dtype: got 'float'"),
    (["check", "mlp_vae[tahn]"], 1, "did you mean 'tanh'"),
    (["check", "--dtype", "float16"], 1, "dtype: got 'float16'"),
    (["check", "--device", "cuda:77"], 1, "--device: got 'cuda:77'"),
    (["check", "--device", "nonsense"], 1, "--device: got 'nonsense'"),
    (["train", "mlp_vea"], 1, "did you mean 'mlp_vae'"),
    (
        ["train", "mlp_vae", "--data", "digit"],
        1,
        "error: --data: got 'digit', takes one of 'digits'",
    ),
    (["train", "mlp_vae", "--data", "mnist"], 1, "DIPTYCH_DATA"),
    (["train", "mlp_vae", "--epochs", "0"], 1, "--epochs: got 0"),
    (["train", "mlp_vae", "--epochs", "x"], 2, "should be a valid integer"),
    (["train", "mlp_vae", "--backend", "jax"], 1, "--backend: got 'jax'"),
    (["train", "mlp_vae", "--lr", "nan"], 1, "--lr: got nan"),
    (["train", "mlp_vae", "--set", "hiden_dim=3"], 1, "--set: got 'hiden_dim'"),
    (
        ["train", "mlp_vae", "--set", "hidden_dim=wide"],
        1,
        "--set hidden_dim: got 'hidden_dim=wide', takes hidden_dim=int",
    ),
    (
        ["train", "mlp_vae", "--set", "min_logvar=none"],
        1,
        "--set min_logvar: got 'min_logvar=none', takes min_logvar=float or None",
    ),
    (
        ["train", "mlp_vae", "--set", "hidden_dim=None"],
        1,
        "--set hidden_dim: got 'hidden_dim=None', takes hidden_dim=int",
    ),
    (
        ["train", "mlp_vae", "--set", "min_logvar=None"],
        1,
        "--set min_logvar: got None with likelihood 'bernoulli', takes -9",
    ),
    (["train", "mlp_vae", "--set", "latent_dim=-1"], 1, "--set latent_dim: got -1"),
    (["train", "mlp_vae", "--set", "input_dim=32"], 1, "input_dim: got 32, takes 64 for digits"),
    (["train", "mlp_vae", "--backend", "numpy", "--device", "cuda"], 1, "takes 'cpu'"),
    (["evaluate", "nowhere"], 1, "nowhere: not a run folder"),
    (["sample", "nowhere"], 1, "nowhere: not a run folder"),
    (["check", "--nonsense"], 2, "No such option"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), ERRORS, ids=lambda v: str(v)[:40])
def test_errors_are_one_line_without_a_traceback(run, tmp_path, arguments, status, message):
    if arguments[0] == "train":
        arguments = [*arguments, "--out", str(tmp_path / "run")]
    result, out, err = run(*arguments)
    assert result == status and message in err
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in out + err
    assert not (tmp_path / "run").exists(), "something was written"


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="mlp_vea"):
        main(["--debug", "check", "mlp_vea"])


def test_the_study_finds_that_the_panels_agree_and_writes_its_files(run, tmp_path, monkeypatch):
    load = data.load

    def a_little(name, root=None):
        result = load(name, root)
        if isinstance(result, data.MemoryTask):
            return result
        if isinstance(result, data.Dataset):
            train = data.Split(result.train.x[:256], result.train.y[:256])
            return dataclasses.replace(result, train=train)
        parts = {"train": result.train[:3000], "valid": result.valid[:300]}
        return dataclasses.replace(result, **parts)

    monkeypatch.setattr(data, "load", a_little)
    small = {"schemes": ("none", "recurrent"), "seeds": (0,), "delays": (20,)}
    monkeypatch.setattr(memory, "plan", functools.partial(memory.plan, **small))
    result = Findings({}, Table(), Figure(), {"one is one": True})
    monkeypatch.setattr(study, "EXPERIMENTS", {"echo": None})
    monkeypatch.setattr(lab, "EXPERIMENTS", {"echo": lambda setting: result})
    # a pair and the streams stand for all, whose check has tests of its own
    compare = study.check_pairs
    monkeypatch.setattr(study, "check_pairs", lambda _, *rest: compare(["random", "rnn"], *rest))
    handed = []

    def build_site(out, console, *, reports):
        handed.append(reports)
        return Site(out / "index.html")

    monkeypatch.setattr(study, "build_site", build_site)
    for epochs in (2, 5):  # a second study replaces the first
        options = ("--out", tmp_path / "out", "--epochs", epochs, "--workers", 1)
        status, out, _ = run("study", *options)
        assert status == 0 and "agrees" in out
        assert out.splitlines()[-1] == str(tmp_path / "out" / "index.html")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary["trained"]) == set(PAIRS)
    assert {report.name for report in handed[1]} == set(summary["parity"])
    assert summary["lab"] == {"echo": {"one is one": True}}
    assert (tmp_path / "out" / "lab" / "echo.png").exists()
    for trained in summary["trained"].values():
        assert trained["curves_error_100"] <= 1e-10 and {"numpy", "torch"} == set(trained["panels"])
    assert summary["trained"]["mlp_vae"]["weights_error"] <= 1e-10
    assert summary["trained"]["rnn"]["writes"]
    assert all(summary["parity"].values())
    assert {name: len(seeds) for name, seeds in summary["memory"].items()} == {
        "none": 1,
        "recurrent": 1,
    }
    vae = ("loss_curves", "samples", "reconstructions", "latent_scatter", "latent_manifold")
    pictured = ("curves", "samples", "reconstructions")
    convolutional = [f"{model}_{name}" for model in ("conv_vae", "vlae") for name in pictured]
    for name in (*vae, *convolutional, "rnn_curves", "lstm_curves", "memory_curves"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").exists()
        assert f"{name}.png" in out


def test_every_public_name_can_be_imported():
    for name in diptych.__all__:
        assert getattr(diptych, name) is not None and name in dir(diptych)
    with pytest.raises(AttributeError, match="nonsense"):
        diptych.nonsense  # noqa: B018


def test_every_config_batch_noise_loss_and_state_is_public():
    """Every such class that the model_specs of the five models define."""
    kinds = ("Config", "Batch", "Noise", "Loss", "State")
    expected = set()
    for model in PAIRS:
        module = importlib.import_module(f"model_specs.{model}")
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") == module.__name__ and name.endswith(kinds):
                expected.add(name)
    assert len(expected) > 15 and expected <= set(diptych.__all__)
