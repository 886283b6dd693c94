"""A run that is interrupted or killed goes on bit for bit; a folder is never taken for another."""

import dataclasses
import json
import signal
import subprocess
import sys
import time

import pytest
from helpers.short_runs import StopAt, arrays_of, assert_same_arrays, short_run, without_times

from diptych import data
from diptych.panels import BACKENDS, OPTIMIZERS
from diptych.runs.folder import RunFolder, read_metrics
from diptych.training.train import train
from model_specs.common.key import Key
from numpy_ref.nn import random


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_interrupted_and_resumed_is_uninterrupted(
    few_digits, tmp_path, monkeypatch, backend, optimizer, steps
):
    """Ctrl-C in the middle of an epoch, at its last step, and after a checkpoint."""
    run = short_run(
        backend=backend, optimizer=optimizer, binarize=True, clip=5.0, schedule="cosine"
    )
    whole = train(run, few_digits, tmp_path / "whole")
    with monkeypatch.context() as patch:
        StopAt(patch, steps)
        stopped = train(run, few_digits, tmp_path / "cut")
    assert stopped.interrupted and stopped.steps == steps
    resumed = train(run, few_digits, tmp_path / "cut", resume=True)
    assert not resumed.interrupted and resumed.steps == whole.steps == 12
    for ours, theirs in zip(arrays_of(resumed.folder), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)
    logs = [without_times(read_metrics(f.folder.metrics_file)) for f in (resumed, whole)]
    assert logs[0] == logs[1]


def test_the_earlier_signal_handler_is_restored(few_digits, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    train(short_run(epochs=1), few_digits, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


KILLED = """
import json, os, signal, sys
import torch
from diptych import data, weights
from diptych.runs import config as run
from diptych.training.train import Trainer, train
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder

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
        Trainer.step = deadly(Trainer.step, countdown)
        RunFolder.log = deadly(RunFolder.log, countdown)
        train(RunConfig(**settings), digits, folder, resume=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed += os.WIFSIGNALED(status)
print(json.dumps({"killed": killed, "last": status}))
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_ten_times_and_resumed_is_uninterrupted(tmp_path, backend):
    """kill -9 at ten random moments of one run: before or after a step, a line, a written file."""
    run = short_run(backend=backend, epochs=6, batch_size=32, checkpoint_every=3)
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


def test_a_folder_with_part_of_a_run_is_not_taken_for_a_new_one(few_digits, tmp_path):
    train(short_run(epochs=1), few_digits, tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"holds metrics\.jsonl.* but no run\.json"):
            train(short_run(epochs=1), few_digits, tmp_path / "run", resume=resume)


def test_resuming_on_other_data_is_refused(few_digits, tmp_path):
    train(short_run(epochs=1), few_digits, tmp_path / "run")
    with pytest.raises(ValueError, match="cannot resume on other data"):
        train(short_run(epochs=1), data.load("digits"), tmp_path / "run", resume=True)


def test_a_folder_with_another_run_is_not_touched(few_digits, tmp_path):
    train(short_run(epochs=1), few_digits, tmp_path / "run")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match="holds a run already"):
        train(short_run(epochs=1), few_digits, tmp_path / "run")
    with pytest.raises(ValueError, match=r"lr was 0\.01, now 0\.5"):
        train(short_run(epochs=1, lr=0.5), few_digits, tmp_path / "run", resume=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_a_spoilt_checkpoint_is_one_error_and_stays(few_digits, tmp_path):
    train(short_run(epochs=1), few_digits, tmp_path / "run")
    file = tmp_path / "run" / "checkpoint.safetensors"
    spoilt = file.read_bytes()[:-7]
    file.write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: not a whole safetensors"):
        train(short_run(epochs=1), few_digits, tmp_path / "run", resume=True)
    assert file.read_bytes() == spoilt


def test_resuming_where_nothing_was_saved_begins_at_the_beginning(few_digits, tmp_path):
    assert train(short_run(epochs=1), few_digits, tmp_path / "run", resume=True).steps == 3


def test_metrics_that_were_cut_off_are_read_up_to_there(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert read_metrics(file) == [{"step": 1}, {"step": 2}]
    file.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read_metrics(file)


def test_training_time_counts_over_resumptions(few_digits, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        StopAt(patch, 5)
        first = train(short_run(), few_digits, tmp_path / "run")
    begun = time.perf_counter()
    second = train(short_run(), few_digits, tmp_path / "run", resume=True)
    assert 0 < first.seconds < second.seconds < first.seconds + time.perf_counter() - begun
