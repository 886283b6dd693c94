"""`diptych evaluate` and `diptych sample` on runs of image models."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from helpers.small_image_runs import FIELDS, config_for, dataset
from matplotlib.image import imread

from diptych import data, pairs
from diptych.commands.open import open_run
from diptych.evaluation.elbo import elbo_terms, reconstruction_error
from diptych.evaluation.memory import memory_of
from diptych.panels import BACKENDS
from diptych.runs import results
from diptych.tasks import make_task
from diptych.training.presets import settings
from diptych.training.train import build, train
from model_specs.common.key import Key


def test_a_run_is_evaluated_and_sampled(run, tmp_path):
    """The command line reports NLL, ELBO and reconstruction error on the embedded digits."""
    out = tmp_path / "run"
    small = [o for n, v in FIELDS.items() for o in ("--set", f"{n}={v}")]
    options = ["--data", "digits16", "--epochs", 1, "--batch-size", 400, "--out", out, *small]
    assert run("train", "conv_vae", *options)[0] == 0
    status, message, _ = run("evaluate", out, "--samples", 3, "--examples", 20)
    assert status == 0 and "bits/dim" in message and "RMSE/value" in message
    metrics = json.loads((out / "evaluation.json").read_text())
    assert metrics["test_elbo"] <= -metrics["test_nll"]
    pixels = 16 * 16
    assert metrics["test_bits_per_dim"] == pytest.approx(metrics["test_nll"] / pixels / np.log(2))
    assert metrics["test_kl_bits"] == pytest.approx(metrics["test_kl"] / np.log(2))
    bits = next(line for line in message.splitlines() if "spent on z" in line)
    assert f"{metrics['test_kl_bits']:.3f}" in bits and "bits/example" in bits
    assert 1 <= metrics["test_least_effective_samples"] <= metrics["test_effective_samples"] <= 3
    assert "effective sample size" in message
    status, message, _ = run("sample", out, "--count", 9)
    assert status == 0 and (out / "samples.png").exists()
    assert run("sample", out, "--count", 9, "--no-mean", "--out", tmp_path / "drawn.png")[0] == 0
    means, drawn = (imread(p)[..., 0] for p in (out / "samples.png", tmp_path / "drawn.png"))
    assert means.shape == drawn.shape and np.abs(means - drawn).max() > 0.1


def test_the_reconstruction_error_is_that_of_the_original_images(run, tmp_path):
    """It excludes the black margin around 8 x 8 digits and the range of tanh."""
    out = tmp_path / "run"
    fields = FIELDS | {"out_activation": "tanh"}
    small = [o for n, v in fields.items() for o in ("--set", f"{n}={v}")]
    options = ["--data", "digits", "--epochs", 1, "--batch-size", 400, "--out", out, *small]
    assert run("train", "conv_vae", *options)[0] == 0
    assert run("evaluate", out, "--samples", 1, "--device", "cpu")[0] == 0
    rmse = json.loads((out / "evaluation.json").read_text())["test_rmse"]
    panel = open_run(out)[-1]
    digits = data.load("digits")
    pair, rows = pairs.get("conv_vae"), digits.test.x
    batch = panel.array(pair.to_batch(panel.model.config, rows, digits.image_shape))
    with panel.evaluating():
        recon = panel.model.reconstruct(batch).numpy()
    images = pair.to_images(panel.model.config, recon, digits.image_shape).reshape(rows.shape)
    assert rmse == pytest.approx(np.sqrt(((images - rows) ** 2).mean()), rel=1e-5)


def test_a_run_from_a_gpu_is_evaluated_on_the_cpu(run, tmp_path):
    """--device chooses the device; the record keeps the settings of the training."""
    digits, out, record = data.load("digits16"), tmp_path / "run", tmp_path / "gpu.json"
    config = settings(
        "conv_vae", "digits16", digits, None, FIELDS, {"epochs": 1, "batch_size": 400}
    )
    train(config, digits, out)
    metadata = json.loads((out / "run.json").read_text())
    metadata["config"]["device"] = "cuda:7"  # not on this machine
    (out / "run.json").write_text(json.dumps(metadata))
    few = ["--samples", 1, "--examples", 5]
    for command in (["evaluate", out, *few], ["sample", out]):
        status, _, error = run(*command)
        assert status == 1 and "device: got 'cuda:7', this machine has" in error
        extra = ["--record", record] if command[0] == "evaluate" else []
        assert run(*command, "--device", "cpu", *extra)[0] == 0
    result = results.read(record)
    assert result["metrics"]["settings"]["device"] == "cuda:7" and result["device"] == "cpu"


def test_a_loss_that_is_no_log_likelihood_has_no_nll(run, tmp_path):
    out = tmp_path / "run"
    small = [o for n, v in (FIELDS | {"recon_type": "mse"}).items() for o in ("--set", f"{n}={v}")]
    options = ["--data", "digits16", "--epochs", 1, "--batch-size", 400, "--out", out, *small]
    assert run("train", "conv_vae", *options)[0] == 0
    status, message, _ = run("evaluate", out)
    assert status == 0 and "NLL" not in message and "RMSE/value" in message
    for option, name in ((("--samples", 3), "samples: got 3"), (("--resume",), "resume: got True")):
        status, _, message = run("evaluate", out, *option)
        assert status == 1 and f"{name}, takes a model whose loss is a log-likelihood" in message


def test_the_memory_bound_limits_every_batch(run, tmp_path, monkeypatch):
    """The batches of the ELBO and of the reconstructions respect it too."""
    out = tmp_path / "run"
    small = [o for n, v in FIELDS.items() for o in ("--set", f"{n}={v}")]
    options = ["--data", "digits16", "--epochs", 1, "--batch-size", 400, "--out", out, *small]
    assert run("train", "conv_vae", *options)[0] == 0
    panel, calls = open_run(out)[-1], []
    bound = [memory_of(panel.model, rows) for rows in range(8)]
    model = type(panel.model)

    def record_calls(name, method):
        def recorded(model, x, *noise):
            calls.append((name, len(x)))
            return method(model, x, *noise)

        monkeypatch.setattr(model, name, recorded)

    for name in ("loss", "log_weight", "reconstruct"):
        record_calls(name, getattr(model, name))
    few = ("--samples", 3, "--examples", 20)
    assert run("evaluate", out, *few, "--memory-mb", bound[7])[0] == 0
    assert {name: max(n for other, n in calls if other == name) for name, _ in calls} == {
        "log_weight": 2,
        "loss": 7,
        "reconstruct": 7,
    }
    calls.clear()
    for option in (("--memory-mb", 0.99 * bound[1]), ("--samples", 0), ("--examples", 0)):
        assert run("evaluate", out, *option)[0] == 1
    assert not calls


def test_reconstruction_error_is_the_root_mean_squared_error():
    images = dataset()
    config = config_for(images)
    for backend in BACKENDS:
        panel = build(dataclasses.replace(config, backend=backend))
        x = make_task(config, images).examples(panel, images.test.x)
        with panel.evaluating():
            recon = np.concatenate(
                [np.asarray(panel.model.reconstruct(panel.array(x[i : i + 1]))) for i in range(24)]
            )
        expected = np.sqrt(((recon - x) ** 2).mean())
        sizes = []
        error = reconstruction_error(panel, x, batch_size=7, after=sizes.append)
        assert error == pytest.approx(expected, rel=1e-6) and sizes == [7, 7, 7, 3]
        assert panel.model.training
        cropped = reconstruction_error(panel, x, 7, lambda a: 3 * a[:, :, 2:14, 2:14])
        expected = 3 * np.sqrt(((recon - x)[:, :, 2:14, 2:14] ** 2).mean())
        assert cropped == pytest.approx(expected, rel=1e-6)
        a, b = (elbo_terms(panel, x, Key(0), batch_size=n)["total"] for n in (7, 24))
        assert a == pytest.approx(b, rel=1e-6)
