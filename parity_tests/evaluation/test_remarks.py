"""Remarks on numbers that look better than they are: margins, single draws, worse than uniform."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from diptych import data, pairs, remarks
from diptych.commands.open import open_run
from diptych.evaluation.importance import Sums, importance_weighted
from diptych.panels import BACKENDS, make_panel
from diptych.runs import results, tables
from model_specs.common.key import Key

TINY_CONV = ["--set", "base_channels=2", "--set", "latent_dim=3", "--batch-size", 400]
TINY_LSTM = ["--set", "hidden_dim=8", "--set", "embedding_dim=8", "--set", "seq_len=5"]
TINY_LSTM += ["--set", "num_layers=1", "--batch-size", 4]


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "r.txt"
    file.write_text("red green blue green red yellow\n" * 80)
    return f"text:{file}"


def test_nats_and_bits_of_small_digits_leave_the_margin_out(run, tmp_path):
    """8 x 8 digits in 16 x 16 pixels: the NLL is that of 64 values, and the table says so."""
    out = tmp_path / "run"
    train = ["train", "conv_vae", "--data", "digits", "--epochs", 1, "--out", out, *TINY_CONV]
    assert run(*train)[0] == 0
    status, message, _ = run("evaluate", out, "--samples", 4)
    assert status == 0 and "black margin" in message and "75.0 % of the values" in message
    metrics, digits = evaluation(out), data.load("digits")
    bits = metrics["test_nll"] / (64 * math.log(2))
    assert metrics["test_bits_per_dim"] == pytest.approx(bits, rel=1e-12)
    panel = open_run(out)[-1]
    config = panel.model.config
    assert (config.image_size, config.height, config.width) == (16, 8, 8)
    x = pairs.get("conv_vae").to_batch(config, digits.test.x[:3], digits.image_shape)
    with panel.evaluating(), torch.no_grad():
        noise = panel.model.draw_noise(Key(5), 3, samples=2)
        log_w = panel.model.log_weight(panel.array(x), noise).numpy()
        panel.model.config = dataclasses.replace(config, height=None, width=None)
        whole = panel.model.log_weight(panel.array(x), noise).numpy()
        recon = panel.model.forward(panel.array(x), type(noise)(noise.eps[:, 0])).recon.numpy()
    black = np.ones((16, 16), bool)
    black[4:12, 4:12] = False
    squares = (recon[:, 0, black] ** 2).sum(1) / (2 * config.gaussian_std**2)
    margin = -squares - black.sum() * math.log(config.gaussian_std * math.sqrt(2 * math.pi))
    np.testing.assert_allclose((whole - log_w)[:, 0], margin, rtol=1e-4)


def test_a_new_run_is_trained_on_the_loss_that_it_is_evaluated_by(run, tmp_path):
    train = ["train", "conv_vae", "--data", "digits", "--epochs", 1, "--out", tmp_path / "run"]
    status, _, error = run(*train, "--set", "height=None")
    assert status == 1 and error == "error: --set height: got None, takes 8 for digits\n"
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_older_version_goes_on_and_is_evaluated_without_its_margin(run, tmp_path):
    """Its loss counts the margin, and does so to the end; its NLL does not."""
    out = tmp_path / "run"
    train = ["train", "conv_vae", "--data", "digits", "--out", out, *TINY_CONV]
    assert run(*train, "--epochs", 1)[0] == 0
    settings = json.loads((out / "run.json").read_text())
    settings["digest"] = None
    for name in ("height", "width"):
        del settings["config"]["model_config"][name]
    (out / "run.json").write_text(json.dumps(settings))
    assert open_run(out)[-1].model.config.height is None
    status, _, error = run("train", "conv_vae", "--out", out, "--epochs", 2, "--resume")
    assert status == 0, error
    assert open_run(out)[-1].model.config.height is None
    status, message, _ = run("evaluate", out, "--samples", 2)
    assert status == 0 and "75.0 % of the values" in message
    metrics = evaluation(out)
    bits = metrics["test_nll"] / (64 * math.log(2))
    assert metrics["test_bits_per_dim"] == pytest.approx(bits, rel=1e-12)
    assert metrics["test_recon"] < metrics["test_nll"] + 100  # of 64 values, not of 256


def test_a_model_without_a_margin_has_no_line_about_one(run, tmp_path):
    out = tmp_path / "run"
    assert run("train", "mlp_vae", "--data", "digits", "--epochs", 1, "--out", out)[0] == 0
    assert "black margin" not in run("evaluate", out, "--samples", 2)[1]


def test_a_text_run_that_ends_worse_than_uniform_says_so(run, tmp_path, text):
    out = tmp_path / "run"
    train = ["train", "lstm", "--data", text, "--epochs", 1, "--out", out, *TINY_LSTM]
    status, message, _ = run(*train, "--optimizer", "sgd", "--lr", 1e8)
    assert status == 0 and "worse than uniform: " in message and " nats/word on valid, " in message
    words = len(data.load(text).vocabulary)
    assert f"{math.log(words):.4g} for the uniform distribution" in message
    message = run("evaluate", out)[1]
    assert "worse than uniform: " in message and " nats/word on test, " in message


def test_a_text_run_that_learned_is_not_warned_about(run, tmp_path, text):
    out = tmp_path / "run"
    train = ["train", "lstm", "--data", text, "--epochs", 4, "--out", out, *TINY_LSTM]
    for command in ([*train, "--lr", 0.03], ["evaluate", out]):
        status, message, _ = run(*command)
        assert status == 0 and "worse than uniform" not in message


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_run_that_ends_worse_than_uniform_says_so(run, tmp_path, backend):
    """log 2 nats for each of the 64 pixels of a Bernoulli."""
    out = tmp_path / backend
    train = ["train", "mlp_vae", "--data", "binary_digits", "--epochs", 1, "--backend", backend]
    status, message, _ = run(*train, "--out", out, "--batch-size", 400, "--lr", 1)
    expected = f"{64 * math.log(2):.4g} for the uniform"
    assert status == 0 and "worse than uniform: " in message and expected in message
    assert "nats/example on test" in run("evaluate", out, "--samples", 2)[1]


def test_an_image_run_that_learned_is_not_warned_about(run, tmp_path):
    out = tmp_path / "run"
    train = ["train", "mlp_vae", "--data", "binary_digits", "--epochs", 6, "--out", out]
    for command in (train, ["evaluate", out, "--samples", 64]):
        status, message, _ = run(*command)
        assert status == 0 and "worse than uniform" not in message


@pytest.mark.parametrize(
    ("variant", "nats"),
    [
        ("mlp_vae", 16 * math.log(2)),
        ("mlp_vae[sigma,clamped]", 13 * math.log(2)),
        ("mlp_vae[beta]", 0),
        ("mlp_vae[truncated_gaussian]", 0),
        ("mlp_vae[continuous_bernoulli]", 0),
        ("mlp_vae[gaussian]", 0),
        ("mlp_vae[gaussian_learned]", 0),
        ("vlae[8x8]", 64 * math.log(2)),
    ],
)
def test_the_uniform_distribution_of_each_likelihood(variant, nats):
    """1/2 for each binary pixel, or the density 1 on [0, 1]."""
    assert pairs.traits(pairs.find(variant)[1]).uniform == pytest.approx(nats, rel=1e-15)


def test_weights_that_rest_on_one_draw_are_marked_with_a_footnote(run, tmp_path):
    out, record = tmp_path / "run", tmp_path / "q.json"
    train = ["train", "conv_vae", "--data", "digits16", "--epochs", 1, "--out", out, *TINY_CONV]
    assert run(*train, "--set", "gaussian_std=0.01")[0] == 0
    status, message, _ = run("evaluate", out, "--samples", 4, "--examples", 40, "--record", record)
    metrics = evaluation(out)
    assert status == 0 and metrics["test_least_effective_samples"] < 2
    units, lines = ("nats/example", "bits/dim"), message.splitlines()
    rows = [line for line in lines if "NLL" in line and any(unit in line for unit in units)]
    assert len(rows) == 2 and all("†" in row for row in rows)
    share = f"{100 * metrics['test_one_draw_share']:.3g} % of the examples"
    assert f"† The importance weights of {share} rest on one draw" in " ".join(message.split())
    metrics = results.read(record)["metrics"]
    assert remarks.one_draw_mark(metrics, "test_") == " †"


@pytest.mark.parametrize("samples", [1, 2, 8])
def test_equal_weights_are_not_marked(monkeypatch, samples):
    """As of a model without a latent; the size of two equal weights may round to less than 2."""
    x = np.full((400, 16), 0.5)
    panel = make_panel("mlp_vae", pairs.find("mlp_vae")[1], "numpy", key=Key(1))

    def weights(x, noise):
        return np.broadcast_to(np.linspace(-300, -10, len(x))[:, None], noise.eps.shape[:2])

    monkeypatch.setattr(panel.model, "log_weight", weights)
    result = dataclasses.asdict(importance_weighted(panel, x, Key(0), samples))
    assert result["one_draw_share"] == 0
    assert result["least_effective_samples"] == pytest.approx(samples)
    assert remarks.one_draw_mark(result) == "" and remarks.one_draw_note(result) is None


def test_the_share_counts_examples_below_two_effective_samples(monkeypatch):
    """Weights (1, 1, 1), (1, 0, 0) and (1, 1, 0) have 3, 1 and 2 effective samples."""
    log_w = np.log(np.array([[1, 1, 1], [1, 1e-300, 1e-300], [1, 1, 1e-300]]))
    sums = Sums.empty(3)
    sums.add(slice(0, 3), log_w)
    np.testing.assert_allclose(sums.effective_samples(), [3, 1, 2], rtol=1e-12)
    panel = make_panel("mlp_vae", pairs.find("mlp_vae")[1], "numpy", key=Key(1))
    monkeypatch.setattr(panel.model, "log_weight", lambda x, noise: log_w * (1 - 1e-9))
    result = importance_weighted(panel, np.full((3, 16), 0.5), Key(0), 3)
    assert result.one_draw_share == pytest.approx(1 / 3)


def test_of_two_draws_one_has_most_of_the_weight_below_one_and_a_half():
    assert remarks.rests_on_one_draw(1.99, 3) and not remarks.rests_on_one_draw(1.99, 2)
    assert remarks.rests_on_one_draw(1.49, 2) and not remarks.rests_on_one_draw(1.0, 1)


@pytest.mark.parametrize(
    ("share", "text"), [(0.0066, "0.66 %"), (0.0815, "8.2 %"), (0.996, "100 %"), (1.0, "100 %")]
)
def test_the_share_of_a_mark_has_two_digits_and_no_exponent(share, text):
    metrics = {"least_effective_samples": 1.0, "samples": 8, "one_draw_share": share}
    assert remarks.one_draw_mark(metrics, share=True) == f" † {text}"


def test_tables_of_the_pages_mark_the_runs_and_explain_the_mark():
    settings = {"model": "mlp_vae", "backend": "torch", "dtype": "float32", "epochs": 20}
    settings |= {"model_config": {"input_dim": 784, "hidden_dim": 400, "latent_dim": 20}}
    metrics = {
        "test_nll": 92.0,
        "test_nll_standard_error": 0.2,
        "test_elbo": -97.0,
        "test_kl": 25.0,
    }
    metrics |= {"test_samples": 512, "test_examples": 1000, "epochs": 20, "train_seconds": 60.0}
    metrics |= {"settings": settings, "test_least_effective_samples": 1.01}
    record = {"name": "x", "data": "mnist: some", "device": "cpu", "command": "c", "seed": 0}
    record |= {"metrics": metrics, "time_s": 60.0, "machine": "m", "commit": "0"}
    record["metrics"]["settings"]["command"] = "diptych train"
    page = tables.trained.likelihood([record])
    assert "**92.00** ± 0.20 † |" in page and "†: for the given percentage of " in page
    metrics["test_one_draw_share"] = 0.0312
    assert "**92.00** ± 0.20 † 3.1 % |" in tables.trained.likelihood([record])
    metrics["test_least_effective_samples"] = 2.5
    assert "†" not in tables.trained.likelihood([record])
    del metrics["test_least_effective_samples"]
    page = tables.trained.likelihood([record])
    assert "**92.00** ± 0.20 ‡ |" in page and "‡: whether one draw has most" in page
    metrics["test_kl"] = 0.0  # no latent: all draws have the same weight
    assert "‡" not in tables.trained.likelihood([record])
