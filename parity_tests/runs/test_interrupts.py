"""Ctrl-C: the first says that it stops after this step, the second stops now, both can go on."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.short_runs import arrays_of, assert_same_arrays, short_run
from rich.console import Console

from diptych.files import load_arrays, save_arrays
from diptych.panels import BACKENDS
from diptych.runs.folder import RunFolder
from diptych.runs.interrupts import stop_on_interrupt
from diptych.training import step
from diptych.training.train import train

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_announces_and_the_second_raises(number):
    announced = []
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt(lambda: announced.append(1)) as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set() and announced == [1]
        signal.raise_signal(number)
        pytest.fail("the second signal has to raise")
    assert announced == [1]


@pytest.mark.parametrize("number", SIGNALS)
def test_either_way_the_earlier_signal_handler_is_restored(number):
    before = signal.getsignal(number)
    for signals in (0, 1, 2):
        try:
            with stop_on_interrupt():
                for _ in range(signals):
                    signal.raise_signal(number)
        except KeyboardInterrupt:
            assert signals == 2
        assert signal.getsignal(number) is before


def test_another_thread_is_never_interrupted():
    events = []

    def work():
        with stop_on_interrupt() as stop:
            events.append(stop.is_set())

    thread = threading.Thread(target=work)
    thread.start(), thread.join()
    assert events == [False]


def interrupted_in_step(monkeypatch, number, signals):
    """Raise so many signals within step `number`, after its gradients and before it is counted."""
    steps = []

    def training_step(*arguments):
        result = step.training_step(*arguments)
        steps.append(result)
        if len(steps) == number:
            for _ in range(signals):
                signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr("diptych.training.trainer.training_step", training_step)
    return steps


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("signals", [1, 2])
def test_a_run_interrupted_once_or_twice_goes_on_bit_for_bit(
    few_digits, tmp_path, monkeypatch, backend, signals
):
    run = short_run(backend=backend, binarize=True)
    whole = train(run, few_digits, tmp_path / "whole")
    console = Console(file=io.StringIO(), width=100)
    with monkeypatch.context() as patch:
        steps = interrupted_in_step(patch, 5, signals)
        if signals == 1:
            stopped = train(run, few_digits, tmp_path / "cut", console=console)
            assert stopped.interrupted and stopped.steps == 5
        else:
            with pytest.raises(KeyboardInterrupt):
                train(run, few_digits, tmp_path / "cut", console=console)
    assert len(steps) == 5
    printed = console.file.getvalue()
    assert printed.count("stopping after this step; Ctrl-C again stops now") == 1
    resumed = train(run, few_digits, tmp_path / "cut", resume=True)
    assert resumed.steps == whole.steps == 12
    for ours, theirs in zip(arrays_of(resumed.folder), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)


def test_a_second_signal_while_a_file_is_written_spoils_none(few_digits, tmp_path, monkeypatch):
    """Within the write of a checkpoint: the one before it stays."""

    def interrupted(path, arrays, metadata=None):
        if path.name == "checkpoint.safetensors" and metadata["position"]["step"] == 4:
            patch.setattr("os.replace", lambda *_: signal.raise_signal(signal.SIGINT))
            signal.raise_signal(signal.SIGINT)
        save_arrays(path, arrays, metadata)

    run = short_run()
    with monkeypatch.context() as patch:
        patch.setattr("diptych.training.trainer.save_arrays", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(run, few_digits, tmp_path / "cut")
    assert not list((tmp_path / "cut").glob(".*"))
    resumed = train(run, few_digits, tmp_path / "cut", resume=True)
    whole = train(run, few_digits, tmp_path / "whole")
    for ours, theirs in zip(arrays_of(resumed.folder), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)


@pytest.mark.parametrize("signals", [1, 2])
def test_the_command_stops_with_one_line_and_status_130(tmp_path, signals):
    """The command runs in a process of its own, and gets the signal of Ctrl-C."""
    options = ["--set", "hidden_dim=8", "--batch-size", "50", "--epochs", "100000"]
    command = [sys.executable, "-m", "diptych", "train", "mlp_vae", *options, "--out", "run"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder, begun = RunFolder(tmp_path / "run"), time.monotonic()
    while not folder.checkpoint_file.exists():
        assert process.poll() is None and time.monotonic() - begun < 120
        time.sleep(0.05)
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in out + error
    if signals == 1:
        assert "stopping after this step" in out and "--resume goes on from" in out
    # the second may come before the first is handled, and then they are one
    assert folder.config().epochs == 100000 and load_arrays(folder.checkpoint_file)
