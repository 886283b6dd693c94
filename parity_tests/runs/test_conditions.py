"""A run records the conditions that its rounding depends on; a resumption tells what differs."""

import io
import json
import os
import subprocess
import sys

import pytest
import torch
from helpers.short_runs import StopAt, arrays_of, assert_same_arrays, short_run
from rich.console import Console
from threadpoolctl import threadpool_limits

from diptych.cli.terminal import flushed_denormals
from diptych.runs.conditions import conditions, differing_conditions
from diptych.runs.folder import RunFolder
from diptych.training.train import train

NOTICE = "resumed under other conditions, so the weights may differ by rounding"


@pytest.fixture
def stopped(few_digits, tmp_path, monkeypatch):
    """A run that was stopped after its fifth step."""
    with monkeypatch.context() as patch:
        StopAt(patch, 5)
        train(short_run(), few_digits, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def resumed(folder, dataset, **changes):
    """(outcome, the text that the user sees)."""
    screen = io.StringIO()
    console = Console(file=screen, width=80)
    outcome = train(short_run(**changes), dataset, folder.path, resume=True, console=console)
    return outcome, screen.getvalue()


def test_a_run_records_its_conditions(stopped):
    recorded = stopped.settings()["conditions"]
    assert recorded == conditions("cpu")
    assert recorded["torch threads"] == torch.get_num_threads()
    assert recorded["torch"] == torch.__version__ and recorded["device"] == "cpu"
    assert recorded["CPU capability"] == torch.backends.cpu.get_cpu_capability()
    assert recorded["denormals"] == "kept" and recorded["processes"] == 1
    with threadpool_limits(1, user_api="blas"):
        assert conditions("cpu")["BLAS"].endswith("x1")
    with flushed_denormals():
        assert conditions("cpu")["denormals"] == "set to 0"


def test_under_the_same_conditions_nothing_is_said(stopped, few_digits, tmp_path):
    whole = train(short_run(), few_digits, tmp_path / "whole")
    outcome, text = resumed(stopped, few_digits)
    assert "conditions" not in text
    for ours, theirs in zip(arrays_of(outcome.folder), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)
    (resumption,) = stopped.settings()["resumed"]
    assert resumption["conditions"] == stopped.settings()["conditions"]
    assert resumption["step"] == 5 and resumption["command"].startswith("diptych")


def test_other_conditions_are_told_in_one_line(stopped, few_digits):
    with flushed_denormals():
        _, text = resumed(stopped, few_digits)
    (line,) = [line for line in text.splitlines() if NOTICE in line]
    assert line.startswith(f"{stopped.path}: ")
    assert line.endswith("uninterrupted run: denormals was kept, now set to 0")


def test_a_second_resumption_knows_the_conditions_of_the_first(stopped, few_digits, monkeypatch):
    with flushed_denormals(), monkeypatch.context() as patch:
        StopAt(patch, 8)
        resumed(stopped, few_digits)
    _, text = resumed(stopped, few_digits)
    assert "uninterrupted run: denormals was kept and set to 0, now kept\n" in text


DIFFERENCES = [
    ({"torch threads": 2}, {"torch threads": 1}, "torch threads was 2, now 1"),
    ({"device": "cpu"}, {"device": "NVIDIA H200"}, "device was cpu, now NVIDIA H200"),
    ({"torch threads": 1}, {"torch threads": 1, "MKL_CBWR": "AVX2"}, "MKL_CBWR was None, now AVX2"),
    ({"torch": "2.6", "numpy": "2.1"}, {"torch": "2.7", "numpy": "2.1"}, "torch was 2.6, now 2.7"),
    ({"processes": 2}, {"processes": 4}, "processes was 2, now 4"),
    ({"BLAS": "a", "scipy": "1"}, {"BLAS": "b", "scipy": "2"}, "BLAS was a, now b; scipy was 1, "),
]


@pytest.mark.parametrize(("before", "now", "message"), DIFFERENCES)
def test_each_condition_that_differs_is_named(before, now, message):
    assert differing_conditions({"conditions": before}, now).startswith(message)
    assert differing_conditions({"conditions": before}, before) == ""


def test_of_version_0_1_0_only_the_versions_of_packages_are_known():
    settings = {
        "versions": {"diptych": "0.1.0", "torch": "2.6", "python": "3.11"},
        "resumed": ["x"],
    }
    now = {"torch": "2.7", "torch threads": 3, "diptych": "0.2.0"}
    assert differing_conditions(settings, now) == "torch was 2.6, now 2.7"
    assert differing_conditions({}, now) == ""


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OMP_NUM_THREADS": "3"}, "torch threads was"),
        ({"ATEN_CPU_CAPABILITY": "default"}, "now DEFAULT"),
        ({"OPENBLAS_CORETYPE": "Nehalem"}, "Nehalem"),
    ],
)
def test_threads_and_kernels_that_the_shell_selects_are_told(variables, message):
    source = "import json; from diptych.runs.conditions import conditions as c"
    command = [sys.executable, "-c", f"{source}; print(json.dumps(c('cpu')))"]
    result = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=True
    )
    now = json.loads(result.stdout)
    assert message in differing_conditions({"conditions": conditions("cpu")}, now)
