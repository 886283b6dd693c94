"""Only one process or thread at a time writes a run folder, and the others say who does."""

import json
import os
import subprocess
import sys
import threading

import pytest
from helpers.short_runs import KillAt, KilledError, arrays_of, assert_same_arrays, short_run

from diptych.evaluation.checkpoint import PartialFile
from diptych.files.lock import NAME, locked
from diptych.runs.folder import RunFolder, read_metrics
from diptych.training.train import Trainer, train

CONCURRENT = """
import dataclasses, json, os, sys, time
from diptych import data
from diptych.data import Split
from diptych.runs.config import RunConfig
from diptych.training.train import train
folder, settings, resume, count = (json.loads(text) for text in sys.argv[1:])
digits = data.load("digits")
few = dataclasses.replace(digits, train=Split(digits.train.x[:70], digits.train.y[:70]))
gate, opened = os.pipe()
children = []
for _ in range(count):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(opened)
        os.read(gate, 1)  # returns when the parent closes its end
        try:
            outcome = train(RunConfig(**settings), few, folder, resume=resume)
            answer = "finished already" if outcome.already_finished else "trained"
        except ValueError as error:
            answer = str(error)
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    children.append((child, reader))
os.close(opened)
answers = []
for child, reader in children:
    answers.append(os.read(reader, 10_000).decode())
    os.waitpid(child, 0)
print(json.dumps(answers))
"""


def concurrently(folder, run, *, resume, count=20):
    """The outcome of each of `count` processes that train the same run at once."""
    arguments = (str(folder), vars(run), resume, count)
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CONCURRENT, *map(json.dumps, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture
def whole(few_digits, tmp_path):
    """A run that no other process disturbs."""
    return train(short_run(backend="numpy"), few_digits, tmp_path / "whole").folder


def assert_same_run(folder, whole):
    for ours, theirs in zip(arrays_of(folder), arrays_of(whole), strict=True):
        assert_same_arrays(ours, theirs)
    counts = [len(read_metrics(f.metrics_file)) for f in (folder, whole)]
    assert counts[0] == counts[1]


def test_of_twenty_starts_at_once_exactly_one_trains(tmp_path, whole):
    answers = concurrently(tmp_path / "run", short_run(backend="numpy"), resume=False)
    assert answers.count("trained") == 1
    for answer in set(answers) - {"trained"}:
        assert "\n" not in answer and str(tmp_path / "run") in answer
        assert "writes there; wait until it ends" in answer or "holds a run already" in answer
    assert_same_run(RunFolder(tmp_path / "run"), whole)
    assert not (tmp_path / "run" / NAME).exists()


def test_of_twenty_resumptions_at_once_exactly_one_trains(few_digits, tmp_path, whole, monkeypatch):
    run = short_run(backend="numpy")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        KillAt(patch, 5)
        train(run, few_digits, tmp_path / "run")
    answers = concurrently(tmp_path / "run", run, resume=True)
    assert answers.count("trained") == 1
    others = set(answers) - {"trained", "finished already"}
    assert all("writes there; wait until it ends" in answer for answer in others)
    assert_same_run(RunFolder(tmp_path / "run"), whole)


def test_the_error_names_the_process_that_writes(few_digits, tmp_path, monkeypatch):
    """Also if it is another thread of the same process; the run that holds the folder goes on."""
    original, errors, started = Trainer.step, [], threading.Event()

    def second_start():
        with pytest.raises(ValueError, match="writes there") as caught:
            train(short_run(), few_digits, tmp_path / "run", resume=True)
        errors.append(str(caught.value))

    def step(trainer):
        if trainer.position.step == 3 and not started.is_set():
            started.set()
            thread = threading.Thread(target=second_start)
            thread.start()
            thread.join()
        return original(trainer)

    monkeypatch.setattr(Trainer, "step", step)
    assert train(short_run(epochs=2), few_digits, tmp_path / "run").steps == 6
    assert errors[0].startswith(f"{tmp_path / 'run'}: process {os.getpid()} on ")
    assert "(since 2" in errors[0]


def test_a_lock_is_free_after_its_process_was_killed(tmp_path):
    """The file of the lock stays, and does not count."""
    code = "import os, pathlib, sys; from diptych.files.lock import locked\n"
    code += "with locked(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    assert subprocess.run(command, env=environment, check=False, timeout=120).returncode == -9
    assert (tmp_path / NAME).exists()
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / NAME).exists()


def test_an_evaluation_that_keeps_its_sums_is_computed_once_at_a_time(tmp_path):
    """Evaluations of other samples have files of their own, and do not wait."""
    first, other = (PartialFile(tmp_path, {"samples": k}, 5) for k in (13, 12))
    refused = pytest.raises(ValueError, match="writes there")
    with first.locked(), other.locked(), refused, first.locked():
        pass
    with first.locked():
        pass
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="file: cannot write there"), locked(tmp_path / "file"):
        pass
