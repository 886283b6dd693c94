"""The loop: the same on both panels, resumed bit for bit, killed without loss."""

import dataclasses
import itertools
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from run_folders import StopAt, arrays_of, assert_same_arrays, without_times

from diptych import data, training
from diptych.data import Dataset, Split
from diptych.panels import BACKENDS
from diptych.parity.report import normwise
from diptych.run import SCHEDULES, RunConfig, RunFolder, read_metrics
from diptych.training import NonFiniteError, train
from diptych.weights import load_arrays
from model_specs.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref import random

MODEL = vars(MLPVAEConfig(input_dim=64, hidden_dim=9, latent_dim=2, init="torch"))


@pytest.fixture(scope="module")
def small():
    """The first 70 digits: two batches and an odd last one."""
    digits = data.load("digits")
    train_split = Split(digits.train.x[:70], digits.train.y[:70])
    return dataclasses.replace(digits, train=train_split)


def config(**changes):
    settings = {"epochs": 4, "batch_size": 32, "lr": 1e-2, "checkpoint_every": 2, "log_every": 1}
    return RunConfig("mlp_vae", dict(MODEL), "digits", **settings | changes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_interrupted_and_resumed_is_uninterrupted(
    small, tmp_path, monkeypatch, backend, optimizer, steps
):
    """Ctrl-C in the middle of an epoch, at its last step, and after a checkpoint."""
    run = config(backend=backend, optimizer=optimizer, binarize=True, clip=5.0, schedule="cosine")
    whole = train(run, small, tmp_path / "whole")
    with monkeypatch.context() as patch:
        StopAt(patch, steps)
        stopped = train(run, small, tmp_path / "cut")
    assert stopped.interrupted and stopped.steps == steps
    resumed = train(run, small, tmp_path / "cut", resume=True)
    assert not resumed.interrupted and resumed.steps == whole.steps == 12
    for ours, theirs in zip(arrays_of(resumed.folder), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)
    logs = [without_times(read_metrics(f.folder.metrics_file)) for f in (resumed, whole)]
    assert logs[0] == logs[1]


def test_the_handler_is_given_back(small, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    train(config(epochs=1), small, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


def test_training_outside_the_main_thread_works(small, tmp_path):
    done = []
    thread = threading.Thread(
        target=lambda: done.append(train(config(epochs=1), small, tmp_path / "run"))
    )
    thread.start(), thread.join()
    assert done[0].steps == 3


KILLED = """
import json, os, signal, sys
import torch
from diptych import data, run, training, weights
from diptych.run import RunConfig, RunFolder

torch.set_num_threads(1)
folder, settings, moments = (json.loads(text) for text in sys.argv[1:])
digits = data.load("digits")

def deadly(function, countdown):
    # an event before and an event after each step, each line of metrics and each replaced file
    def counted(*arguments, **keywords):
        for call in (True, False):
            countdown[0] -= 1
            if countdown[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if call:
                result = function(*arguments, **keywords)
        return result
    return counted

killed = 0
for moment in [*moments, 0]:
    child = os.fork()  # of a process that has only imported, so that a kill costs no import
    if child == 0:
        countdown = [moment]
        os.replace = deadly(os.replace, countdown)
        training.Trainer.step = deadly(training.Trainer.step, countdown)
        RunFolder.log = deadly(RunFolder.log, countdown)
        training.train(RunConfig(**settings), digits, folder, resume=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed += os.WIFSIGNALED(status)
print(json.dumps({"killed": killed, "last": status}))
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_ten_times_and_resumed_is_uninterrupted(tmp_path, backend):
    """kill -9 at ten random moments of one run: before or after a step, a line, a written file."""
    run = config(backend=backend, epochs=6, batch_size=32, checkpoint_every=3)
    moments = (1 + random.permutation(Key(9).fold_in(backend), 120)[:10]).tolist()
    arguments = (str(tmp_path / "cut"), dataclasses.asdict(run), moments)
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, *map(json.dumps, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout.splitlines()[-1]) == {"killed": 10, "last": 0}
    whole = train(run, data.load("digits"), tmp_path / "whole")
    cut = RunFolder(tmp_path / "cut")
    for ours, theirs in zip(arrays_of(cut), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)
    assert without_times(read_metrics(cut.metrics_file)) == without_times(
        read_metrics(whole.folder.metrics_file)
    )
    assert not list((tmp_path / "cut").glob(".*")), "a killed write left its temporary file"


def test_a_folder_with_part_of_a_run_is_not_taken_for_a_new_one(small, tmp_path):
    train(config(epochs=1), small, tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"holds metrics\.jsonl.* but no run\.json"):
            train(config(epochs=1), small, tmp_path / "run", resume=resume)


def test_resuming_on_other_data_is_refused(small, tmp_path):
    train(config(epochs=1), small, tmp_path / "run")
    with pytest.raises(ValueError, match="cannot resume on other data"):
        train(config(epochs=1), data.load("digits"), tmp_path / "run", resume=True)


def test_a_model_that_does_not_fit_the_data_claims_no_folder(small, tmp_path):
    run = dataclasses.replace(config(), model_config={**MODEL, "input_dim": 63})
    with pytest.raises(ValueError, match="x: got shape"):
        train(run, small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_optimizer_states_are_alike_and_refuse_what_does_not_fit(small, backend, optimizer):
    panel = training.build(config(backend=backend, optimizer=optimizer))
    x = small.train.x[:4]
    panel.gradients(x, panel.model.draw_noise(Key(1), 4))
    panel.step(lr=0.1, clip=None)
    state = panel.optimizer_state()
    names = list(panel.weights())
    buffers = ["exp_avg", "exp_avg_sq"] if optimizer == "adam" else []
    assert set(state) == {f"{n}.{b}" for n in names for b in buffers} | {"step"}
    assert state["step"] == 1
    panel.load_optimizer_state(state)
    with pytest.raises(ValueError, match="optimizer state: unexpected stranger"):
        panel.load_optimizer_state(state | {"stranger": np.zeros(3)})
    for name in buffers and [f"{names[0]}.exp_avg"]:
        with pytest.raises(ValueError, match="has shape"):
            panel.load_optimizer_state(state | {name: state[name][:1]})


@pytest.mark.parametrize("binarize", [False, True])
def test_both_panels_follow_one_curve(small, tmp_path, binarize):
    outcomes = [
        train(config(backend=b, dtype="float64", binarize=binarize), small, tmp_path / b)
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
    outcome = train(config(epochs=15), data.load("digits"), tmp_path / "run")
    epochs = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
    losses = [line["valid"]["total"] for line in epochs]
    assert losses[-1] < losses[0] - 2
    position = load_arrays(outcome.folder.checkpoint_file)[1]["position"]
    assert position["best_epoch"] == int(np.argmin(losses))
    assert outcome.folder.best_file.exists()


def test_a_sum_reduction_logs_nats_per_example_too(small, tmp_path):
    logs = []
    for reduction in ("mean", "sum"):
        model = {**MODEL, "reduction": reduction}
        run = dataclasses.replace(config(dtype="float64", epochs=1, lr=1e-9), model_config=model)
        logs.append(train(run, small, tmp_path / reduction).folder.metrics[-1])
    assert logs[0]["train"] == pytest.approx(logs[1]["train"], rel=1e-6)
    assert logs[0]["valid"] == pytest.approx(logs[1]["valid"], rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_is_not_finite_stops_with_step_and_term(small, tmp_path, backend):
    run = config(backend=backend, optimizer="sgd", lr=1e30, epochs=3)
    with pytest.raises(
        NonFiniteError, match=r"step \d+: (loss term (total|recon|kl)|NaN or inf in)"
    ):
        train(run, small, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    if checkpoint.exists():
        assert all(np.isfinite(a).all() for a in load_arrays(checkpoint)[0].values())


def test_a_folder_with_another_run_is_not_touched(small, tmp_path):
    train(config(epochs=1), small, tmp_path / "run")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match="holds a run already"):
        train(config(epochs=1), small, tmp_path / "run")
    with pytest.raises(ValueError, match=r"lr was 0\.01, now 0\.5"):
        train(config(epochs=1, lr=0.5), small, tmp_path / "run", resume=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_a_spoilt_checkpoint_is_one_error_and_stays(small, tmp_path):
    train(config(epochs=1), small, tmp_path / "run")
    file = tmp_path / "run" / "checkpoint.safetensors"
    spoilt = file.read_bytes()[:-7]
    file.write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: not a whole safetensors"):
        train(config(epochs=1), small, tmp_path / "run", resume=True)
    assert file.read_bytes() == spoilt


def test_resuming_where_nothing_was_saved_begins_at_the_beginning(small, tmp_path):
    assert train(config(epochs=1), small, tmp_path / "run", resume=True).steps == 3


def test_every_example_is_seen_once_an_epoch(small, tmp_path, monkeypatch):
    seen = []
    original = training.Trainer.step

    def step(trainer, x, epoch):
        seen.append((epoch, x.copy()))
        return original(trainer, x, epoch)

    monkeypatch.setattr(training.Trainer, "step", step)
    train(config(epochs=2), small, tmp_path / "run")
    epochs = [np.concatenate([x for e, x in seen if e == epoch]) for epoch in (0, 1)]
    for epoch in epochs:
        order = np.lexsort(epoch.T), np.lexsort(small.train.x.T)
        np.testing.assert_array_equal(epoch[order[0]], small.train.x[order[1]])
    assert not np.array_equal(*epochs)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_begin_at_the_rate_and_never_rise(schedule):
    rates = [config(epochs=20, schedule=schedule).lr_at(epoch) for epoch in range(20)]
    assert rates[0] == 1e-2 and all(a >= b > 0 for a, b in itertools.pairwise(rates))
    assert (rates[-1] == rates[0]) == (schedule == "constant")


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
        dataclasses.replace(config(), **{field: value})


def test_metrics_that_were_cut_off_are_read_up_to_there(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert read_metrics(file) == [{"step": 1}, {"step": 2}]
    file.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read_metrics(file)


def test_numpy_takes_no_other_device(small, tmp_path):
    with pytest.raises(ValueError, match="the numpy backend takes 'cpu'"):
        train(config(backend="numpy", device="cuda"), small, tmp_path / "run")


def test_training_time_counts_over_resumptions(small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        StopAt(patch, 5)
        first = train(config(), small, tmp_path / "run")
    begun = time.perf_counter()
    second = train(config(), small, tmp_path / "run", resume=True)
    assert 0 < first.seconds < second.seconds < first.seconds + time.perf_counter() - begun


def test_a_data_set_without_held_out_examples_is_refused_by_its_own_type():
    with pytest.raises(ValueError):
        Dataset(
            "x",
            Split(np.zeros((2, 4), np.float32)),
            *[Split(np.zeros((0, 4), np.float32))] * 2,
            image_shape=(1, 2, 2),
            found="",
        )
