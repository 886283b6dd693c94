"""The loop over text: the carried state, killed and resumed, broken weights, clip and schedule."""

import json

import numpy as np
import pytest
from helpers.short_runs import (
    KillAt,
    KilledError,
    PoisonAt,
    StopAt,
    arrays_of,
    assert_same_arrays,
    without_times,
)
from helpers.small_text_runs import BOTH, TOLERANCE, make_corpus, make_run

from diptych import data, files
from diptych.arrays import leaves, to_numpy
from diptych.data import ContiguousBatches
from diptych.files import load_arrays
from diptych.panels import BACKENDS
from diptych.parity.measures.rows import normwise
from diptych.runs.folder import RunFolder, read_metrics
from diptych.tasks import language, memory
from diptych.tasks.sequences import window
from diptych.training.train import NonFiniteError, Trainer, build, make_task, train
from model_specs.recurrent.dropout import Masks

CORPUS = make_corpus()  # 3 pieces of 53 words: 10 windows of 5 steps
PER_EPOCH = 10
NOISY = {"scheme": "per_step", "rate": 0.3}
STILL = {"optimizer": "sgd", "lr": 1e-300}  # p - lr g is p


@pytest.fixture(autouse=True)
def small_held_out_parts(monkeypatch):
    """A validation then has many windows, and a memory task few steps and sequences."""
    monkeypatch.setattr(language, "LENGTH", 7)
    monkeypatch.setattr(memory, "STEPS_PER_EPOCH", 8)
    monkeypatch.setattr(memory, "HELD_OUT", 20)


def steps_of(folder):
    return [line for line in folder.metrics if line["kind"] == "step"]


# The carried state


@pytest.mark.parametrize(("cell", "backend"), BOTH)
def test_windows_are_one_long_pass_that_starts_anew_each_epoch(tmp_path, cell, backend):
    """With weights that stay as they are, the losses of an epoch's windows are the parts of one
    pass over all of its steps from the zero state, and its last state is what is carried."""
    run = make_run(cell, CORPUS, backend=backend, **STILL)
    panel = build(run)
    ((x, y),) = ContiguousBatches(CORPUS.train, 3, 5 * PER_EPOCH)
    batch = panel.convert(window(panel, x, y))
    with panel.evaluating():
        nll, last = panel.model.token_nll(batch, Masks())
    parts = to_numpy(nll).reshape(PER_EPOCH, 5, 3)
    outcome = train(run, CORPUS, tmp_path / "run")
    for name, array in outcome.panel.weights().items():
        np.testing.assert_allclose(array, panel.weights()[name], rtol=0, atol=1e-290)

    totals = [line["total"] for line in steps_of(outcome.folder)]
    np.testing.assert_allclose(totals[:PER_EPOCH], parts.sum((1, 2)) / 3, rtol=TOLERANCE)
    assert totals[:PER_EPOCH] == totals[PER_EPOCH : 2 * PER_EPOCH] == totals[2 * PER_EPOCH :]
    _, checkpoint = arrays_of(outcome.folder)
    for name, array in leaves(last):
        assert normwise(checkpoint[f"state{name}"], to_numpy(array)) <= TOLERANCE
    # and the state matters: a window from zero has another loss
    alone = panel.terms(panel.convert(window(panel, x[5:10], y[5:10])), Masks())["total"]
    assert abs(alone - totals[1]) > 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("cell", "name"), [("rnn", "adding:6"), ("lstm", "copy:5:3")])
def test_a_memory_task_carries_nothing(tmp_path, cell, name, backend):
    source = data.load(name)
    run = make_run(cell, source, backend=backend, epochs=1, **STILL)
    panel = build(run)
    task = make_task(run, source)
    fresh = [
        panel.terms(window(panel, *task.batch(panel, 0, i)), Masks())["total"] for i in range(8)
    ]
    outcome = train(run, source, tmp_path / "run")
    totals = [line["total"] for line in steps_of(outcome.folder)]
    np.testing.assert_allclose(totals, fresh, rtol=TOLERANCE)


RUNS = [
    ("lstm", None, {}),
    ("rnn", None, {}),
    ("rnn", "copy:5:3", {}),
    ("rnn", "adding:6", {}),
    ("lstm", "copy:5:3", {"word_rate": 0.2}),
]


@pytest.mark.parametrize(("cell", "name", "fields"), RUNS)
def test_both_panels_follow_one_curve(tmp_path, cell, name, fields):
    source = CORPUS if name is None else data.load(name)
    outcomes = [
        train(make_run(cell, source, NOISY | fields, backend=b, clip=1.0), source, tmp_path / b)
        for b in BACKENDS
    ]
    ours, theirs = (outcome.panel.weights() for outcome in outcomes)
    assert max(normwise(ours[name], theirs[name]) for name in ours) <= 1e-10
    left, right = (without_times(outcome.folder.metrics) for outcome in outcomes)
    for a, b in zip(left, right, strict=True):
        numbers = [(k, v if isinstance(v, dict) else {k: v}) for k, v in a.items() if k != "kind"]
        for key, values in numbers:
            result = b[key] if isinstance(b[key], dict) else {key: b[key]}
            assert values == pytest.approx(result, rel=1e-10)
    first, *_, last = (line["valid"] for line in left if line["kind"] == "epoch")
    assert first != last


# Killed, interrupted, resumed


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("cell", "backend"), BOTH)
def test_killed_in_the_middle_and_resumed_is_uninterrupted(
    tmp_path, monkeypatch, cell, backend, optimizer
):
    """Killed before the first checkpoint, after one, as an epoch ends, in the next; then Ctrl-C.

    Resumed each time, the run ends in the same weights, optimiser and carried state to the bit,
    and has the same metrics.
    """
    options = {
        "optimizer": optimizer,
        "lr": 0.05,
        "clip": 1.0,
        "schedule": "constant-then-decay",
        "constant_epochs": 1,
    }
    run = make_run(cell, CORPUS, NOISY, backend=backend, checkpoint_every=3, **options)
    whole = train(run, CORPUS, tmp_path / "whole")
    cut = tmp_path / "cut"
    for step in (2, 5, 10, 14):
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            KillAt(patch, step)
            train(run, CORPUS, cut, resume=True)
    checkpoint = load_arrays(cut / "checkpoint.safetensors")[0]
    assert all(np.abs(checkpoint[n]).min() > 0 for n in checkpoint if n.startswith("state."))
    with monkeypatch.context() as patch:
        StopAt(patch, 28)
        assert train(run, CORPUS, cut, resume=True).interrupted
    resumed = train(run, CORPUS, cut, resume=True)
    assert resumed.steps == whole.steps == 3 * PER_EPOCH and not resumed.interrupted
    for ours, theirs in zip(arrays_of(resumed.folder), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)
    assert resumed.folder.best_file.read_bytes() == whole.folder.best_file.read_bytes()
    logs = [without_times(read_metrics(o.folder.metrics_file)) for o in (resumed, whole)]
    assert logs[0] == logs[1]
    states = [n for n in arrays_of(whole.folder)[1] if n.startswith("state.")]
    assert states == (["state.h"] if cell == "rnn" else ["state.c", "state.h"])


def test_a_checkpoint_with_another_models_state_is_refused(tmp_path):
    outcome = train(make_run("lstm", CORPUS, epochs=1), CORPUS, tmp_path / "run")
    file = outcome.folder.checkpoint_file
    arrays, metadata = load_arrays(file)
    del arrays["state.c"]
    files.save_arrays(file, arrays, metadata)
    with pytest.raises(ValueError, match=r"carried state: missing c"):
        train(make_run("lstm", CORPUS, epochs=1), CORPUS, tmp_path / "run", resume=True)


# Broken weights


@pytest.mark.parametrize(("cell", "backend"), BOTH)
@pytest.mark.parametrize(
    ("step", "message"),
    [(13, "step 13: loss term total is nan"), (15, "15: NaN or inf in"), (20, "20: NaN or inf in")],
    ids=["between checkpoints", "at a checkpoint", "at the end of an epoch"],
)
def test_a_broken_weight_is_one_line_and_spoils_no_file(
    tmp_path, monkeypatch, cell, backend, step, message
):
    """The last checkpoint and the best weights stay, and the run can go on from there."""
    run = make_run(cell, CORPUS, NOISY, backend=backend, checkpoint_every=5, lr=0.01)
    whole = train(run, CORPUS, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        KillAt(patch, step)
        train(run, CORPUS, tmp_path / "killed")
    folder, killed = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "killed")
    with monkeypatch.context() as patch:
        poison = PoisonAt(patch, step)
        with pytest.raises(NonFiniteError, match=message) as caught:
            train(run, CORPUS, folder.path)
    message = str(caught.value)
    assert "\n" not in message and (step == 13 or poison.name in message)
    ours, theirs = (load_arrays(f.checkpoint_file) for f in (folder, killed))
    assert_same_arrays(ours[0], theirs[0])
    assert ours[1]["position"]["step"] == theirs[1]["position"]["step"] == (10 if step < 20 else 15)
    assert folder.best_file.read_bytes() == killed.best_file.read_bytes()
    assert json.loads(folder.metrics_file.read_text().splitlines()[-1])["step"] == step
    resumed = train(run, CORPUS, folder.path, resume=True)
    for ours, theirs in zip(arrays_of(resumed.folder), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)


@pytest.mark.parametrize(("cell", "backend"), BOTH)
@pytest.mark.parametrize("length", [5, 50])
def test_a_run_that_diverges_ends_with_step_and_name_alone(tmp_path, cell, backend, length):
    """No warning either, of which NumPy has some."""
    run = make_run(
        cell,
        CORPUS,
        {"seq_len": length},
        backend=backend,
        dtype="float32",
        optimizer="sgd",
        lr=1e38,
        clip=None,
    )
    with pytest.raises(
        NonFiniteError, match=r"^step \d+: (loss term total is|NaN or inf in model)"
    ):
        train(run, CORPUS, tmp_path / "run")


# Clip and schedule


@pytest.mark.parametrize(("cell", "backend"), BOTH)
def test_each_step_is_as_long_as_rate_and_clip_say(tmp_path, monkeypatch, cell, backend):
    """|p' - p| = lr min(1, clip / (|g| + 1e-6)) |g|, with the lr that the metrics tell."""
    clip, lengths = 0.05, []
    original = Trainer.step

    def step(trainer):
        epoch, before = trainer.epoch, trainer.panel.weights()
        terms = original(trainer)
        moved = [a - before[n] for n, a in trainer.panel.weights().items()]
        lengths.append((epoch, np.sqrt(sum((m * m).sum() for m in moved))))
        return terms

    monkeypatch.setattr(Trainer, "step", step)
    decay = {"schedule": "constant-then-decay", "constant_epochs": 2, "decay": 0.25, "epochs": 4}
    run = make_run(cell, CORPUS, backend=backend, optimizer="sgd", lr=0.5, clip=clip, **decay)
    folder = train(run, CORPUS, tmp_path / "clipped").folder
    rates = [line["lr"] for line in folder.metrics if line["kind"] == "epoch"]
    assert rates == [0.5, 0.5, 0.125, 0.03125]
    assert len(lengths) == 4 * PER_EPOCH
    for epoch, length in lengths:
        # |g| is above the clip, so the 1e-6 takes less than 1e-6 / clip of it
        assert rates[epoch] * clip * (1 - 1e-6 / clip) <= length * (1 + 1e-12)
        assert length <= rates[epoch] * clip * (1 + 1e-12)
    lengths.clear()
    free = make_run(cell, CORPUS, backend=backend, optimizer="sgd", lr=0.5, clip=None, epochs=1)
    train(free, CORPUS, tmp_path / "free")
    assert min(length for _, length in lengths) > 0.5 * clip * 1.1
