"""Resident runs that stop, go on, fail or cannot be resident."""

from __future__ import annotations

import json
import os
import signal

import pytest
from helpers.short_runs import MODEL, KilledError, short_run, without_times
from helpers.small_text_runs import make_corpus, make_run
from runs.test_resident import assert_same_run

from diptych import data
from diptych.panels.ranks import Ranks
from diptych.runs.folder import RunFolder, read_metrics
from diptych.tasks import make_task
from diptych.training.resident import ResidentStep, refusal
from diptych.training.train import NonFiniteError, build, train


def text_run(**options):
    corpus = make_corpus()
    dropout = {"scheme": "variational_recurrent", "rate": 0.4}
    return make_run("lstm", corpus, dropout, epochs=2, checkpoint_every=4, **options), corpus


def digits_run(**options):
    return short_run(epochs=2, checkpoint_every=30, **options), data.load("digits")


@pytest.fixture(params=[digits_run, text_run])
def settings(request):
    return request.param()


def stop_at(patch, steps):
    """Send Ctrl-C once that many resident steps have been taken."""
    original, taken = ResidentStep.step, []

    def step(self, number):
        original(self, number)
        taken.append(number)
        if len(taken) == steps:
            os.kill(os.getpid(), signal.SIGINT)

    patch.setattr(ResidentStep, "step", step)


def kill_at(patch, steps):
    """End the run, as kill -9 does, when it has logged that step."""
    original = RunFolder.log

    def log(self, record):
        original(self, record)
        if record["step"] == steps:
            raise KilledError

    patch.setattr(RunFolder, "log", log)


@pytest.mark.parametrize("first", [True, False])
def test_either_path_goes_on_with_a_run_of_the_other(tmp_path, monkeypatch, settings, first):
    """The first part is interrupted by a kill between two checkpoints of an epoch."""
    run, dataset = settings
    whole = train(run, dataset, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at(patch, 7)
        with pytest.raises(KilledError):
            train(run, dataset, tmp_path / "cut", resident=first)
    resumed = train(run, dataset, tmp_path / "cut", resume=True, resident=not first)
    assert_same_run(resumed, whole)


def test_ctrl_c_ends_the_block_after_this_step(tmp_path, monkeypatch, settings):
    run, dataset = settings
    whole = train(run, dataset, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 6)
        cut = train(run, dataset, tmp_path / "cut", resident=True)
    assert cut.interrupted and cut.steps == 6
    resumed = train(run, dataset, tmp_path / "cut", resume=True, resident=True)
    assert_same_run(resumed, whole)


def test_a_loss_that_is_nan_is_named_with_its_step(tmp_path):
    """Both paths stop with the same error, lines of metrics, and checkpoint."""
    run, dataset = digits_run(optimizer="sgd", lr=1e6)
    messages, lines = [], []
    for resident in (False, True):
        folder = tmp_path / str(resident)
        with pytest.raises(NonFiniteError, match=r"step [1-9]") as error:
            train(run, dataset, folder, resident=resident)
        messages.append(str(error.value))
        lines.append(without_times(read_metrics(RunFolder(folder).metrics_file)))
    assert messages[0] == messages[1] and lines[0] == lines[1]
    assert lines[0][-1]["kind"] == "stop"


def test_small_blocks_draw_the_same_numbers():
    """A bound on the memory changes the size of the blocks and no weight."""
    run, dataset = digits_run()
    weights = []
    for memory in (256, 0.1, 0.0):
        panel, task = build(run), make_task(run, dataset)
        steps = ResidentStep(panel, task, memory_mib=memory)
        for number in range(12):
            steps.step(number)
        weights.append(panel.weights())
        (block,) = steps._blocks.values()
        assert (block.capacity > 12, block.capacity == 1) == (memory == 256, memory == 0)
    for other in weights[1:]:
        assert all((weights[0][name] == other[name]).all() for name in other)


def test_losses_are_read_in_order_and_once():
    run, dataset = digits_run()
    panel, task = build(run), make_task(run, dataset)
    steps = ResidentStep(panel, task)
    assert steps.read() == []
    totals = []
    for numbers in (range(3), range(3, 4), range(4, 9)):
        for number in numbers:
            steps.step(number)
        readings = steps.read()
        assert len(readings) == len(numbers) and panel.steps == numbers.stop
        totals += [reading.terms()["total"] for reading in readings]
    assert len(set(totals)) == 9


@pytest.mark.parametrize(
    ("options", "ranks", "reason"),
    [
        ({"backend": "numpy"}, Ranks(), "backend 'numpy'"),
        ({"amp": "fp16"}, Ranks(), "amp 'fp16'"),
        ({}, Ranks(1, 2), "2 processes"),
    ],
)
def test_what_cannot_be_resident_is_refused(tmp_path, options, ranks, reason):
    """By default such a run takes the ordinary path."""
    run, dataset = digits_run(**options)
    panel = build(run)
    assert reason in str(refusal(panel, ranks))
    if ranks.size == 1:
        with pytest.raises(ValueError, match=f"resident: got True with {reason}"):
            train(run, dataset, tmp_path / "run", resident=True)
        assert not (tmp_path / "run").exists()


def test_the_command_line_tells_the_times_apart(run, tmp_path):
    sizes = ["--set", f"hidden_dim={MODEL['hidden_dim']}", "--epochs", 1, "--batch-size", 400]
    file = tmp_path / "times.json"
    out = ["--out", tmp_path / "run", "--resident", "--json", file]
    status, message, _ = run("train", "mlp_vae", "--data", "digits", *sizes, *out)
    assert status == 0 and "resident" in message and "start-up" in message
    record = json.loads(file.read_text())
    assert record["path"] == "resident" and record["steps"] > 0
    assert min(record[f"{name}_seconds"] for name in ("training", "startup", "other")) > 0
