"""The loop: the same on both panels, every example once an epoch, and what it refuses."""

import dataclasses
import itertools
import threading

import numpy as np
import pytest
from helpers.short_runs import MODEL, short_run

from diptych import data
from diptych.data import Dataset, Split
from diptych.files import load_arrays
from diptych.panels import BACKENDS, OPTIMIZERS, make_panel
from diptych.parity.measures.rows import normwise
from diptych.runs.config import SCHEDULES
from diptych.training import step
from diptych.training.train import NonFiniteError, build, train
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig

BUFFERS = {"adam": ["exp_avg", "exp_avg_sq"], "adamax": ["exp_avg", "exp_inf"], "sgd": []}
BUFFERS |= {"rmsprop": ["square_avg"]}


@pytest.mark.parametrize("binarize", [False, True])
def test_both_panels_follow_one_curve(few_digits, tmp_path, binarize):
    outcomes = [
        train(short_run(backend=b, dtype="float64", binarize=binarize), few_digits, tmp_path / b)
        for b in BACKENDS
    ]
    ours, theirs = (outcome.panel.weights() for outcome in outcomes)
    assert max(normwise(ours[name], theirs[name]) for name in ours) <= 1e-10
    left, right = (outcome.folder.metrics for outcome in outcomes)
    for a, b in zip(left, right, strict=True):
        assert a["step"] == b["step"]
        if a["kind"] == "step":
            assert a["total"] == pytest.approx(b["total"], rel=1e-10)
        else:
            assert a["valid"]["total"] == pytest.approx(b["valid"]["total"], rel=1e-10)


def test_the_loss_falls_and_the_best_epoch_is_kept(tmp_path):
    outcome = train(short_run(epochs=15), data.load("digits"), tmp_path / "run")
    epochs = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
    losses = [line["valid"]["total"] for line in epochs]
    assert losses[-1] < losses[0] - 2
    position = load_arrays(outcome.folder.checkpoint_file)[1]["position"]
    assert position["best_epoch"] == int(np.argmin(losses))
    assert outcome.folder.best_file.exists()


def test_a_sum_reduction_logs_nats_per_example_too(few_digits, tmp_path):
    logs = []
    for reduction in ("mean", "sum"):
        model = {**MODEL, "reduction": reduction}
        run = dataclasses.replace(short_run(dtype="float64", epochs=1, lr=1e-9), model_config=model)
        logs.append(train(run, few_digits, tmp_path / reduction).folder.metrics[-1])
    assert logs[0]["train"] == pytest.approx(logs[1]["train"], rel=1e-6)
    assert logs[0]["valid"] == pytest.approx(logs[1]["valid"], rel=1e-6)


def test_an_epoch_takes_every_example_once(few_digits, tmp_path, monkeypatch):
    batches = []

    def training_step(panel, batch, *options):
        batches.append(batch.inputs.copy())
        return step.training_step(panel, batch, *options)

    monkeypatch.setattr("diptych.training.trainer.training_step", training_step)
    train(short_run(epochs=2), few_digits, tmp_path / "run")
    epochs = [np.concatenate(batches[start : start + 3]) for start in (0, 3)]
    for epoch in epochs:
        order = np.lexsort(epoch.T), np.lexsort(few_digits.train.x.T)
        np.testing.assert_array_equal(epoch[order[0]], few_digits.train.x[order[1]])
    assert not np.array_equal(*epochs)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_begin_at_the_rate_and_never_rise(schedule):
    rates = [short_run(epochs=20, schedule=schedule).lr_at(epoch) for epoch in range(20)]
    assert rates[0] == 1e-2 and all(a >= b > 0 for a, b in itertools.pairwise(rates))
    assert (rates[-1] == rates[0]) == (schedule == "constant")


def test_training_outside_the_main_thread_works(few_digits, tmp_path):
    done = []
    thread = threading.Thread(
        target=lambda: done.append(train(short_run(epochs=1), few_digits, tmp_path / "run"))
    )
    thread.start(), thread.join()
    assert done[0].steps == 3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_states_are_alike_and_refuse_what_does_not_fit(few_digits, backend, optimizer):
    panel = build(short_run(backend=backend, optimizer=optimizer))
    x = few_digits.train.x[:4]
    panel.forward_backward(x, panel.model.draw_noise(Key(1), 4))
    panel.step(lr=0.1, clip=None)
    state = panel.optimizer_state()
    names = list(panel.weights())
    buffers = BUFFERS[optimizer]
    assert set(state) == {f"{n}.{b}" for n in names for b in buffers} | {"step"}
    assert state["step"] == 1
    panel.load_optimizer_state(state)
    with pytest.raises(ValueError, match="optimizer state: unexpected stranger"):
        panel.load_optimizer_state(state | {"stranger": np.zeros(3)})
    for name in (f"{names[0]}.{buffer}" for buffer in buffers):
        with pytest.raises(ValueError, match="has shape"):
            panel.load_optimizer_state(state | {name: state[name][:1]})


# Refusals


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_is_not_finite_stops_with_step_and_term(few_digits, tmp_path, backend):
    run = short_run(backend=backend, optimizer="sgd", lr=1e30, epochs=3)
    with pytest.raises(
        NonFiniteError, match=r"step \d+: (loss term (total|recon|kl)|NaN or inf in)"
    ):
        train(run, few_digits, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    if checkpoint.exists():
        assert all(np.isfinite(a).all() for a in load_arrays(checkpoint)[0].values())


def test_a_model_that_does_not_fit_the_data_claims_no_folder(few_digits, tmp_path):
    run = dataclasses.replace(short_run(), model_config={**MODEL, "input_dim": 63})
    with pytest.raises(ValueError, match="x: got shape"):
        train(run, few_digits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backend", "jax"),
        ("dtype", "float16"),
        ("optimizer", "lion"),
        ("schedule", "linear"),
        ("epochs", 0),
        ("batch_size", -1),
        ("lr", 0.0),
        ("clip", -1.0),
        ("model", "mlp_vea"),
    ],
)
def test_impossible_settings_name_themselves(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(short_run(), **{field: value})


def test_numpy_takes_no_other_device(few_digits, tmp_path):
    with pytest.raises(ValueError, match="device: got 'cuda' with backend 'numpy', takes 'cpu'"):
        train(short_run(backend="numpy", device="cuda"), few_digits, tmp_path / "run")
    with pytest.raises(ValueError, match="device: got 'cuda', the numpy backend takes 'cpu'"):
        make_panel("mlp_vae", MLPVAEConfig(**MODEL), "numpy", key=Key(0), device="cuda")


def test_a_data_set_without_held_out_examples_is_refused_by_its_own_type():
    with pytest.raises(ValueError):
        Dataset(
            "x",
            Split(np.zeros((2, 4), np.float32)),
            *[Split(np.zeros((0, 4), np.float32))] * 2,
            image_shape=(1, 2, 2),
            summary="",
        )
