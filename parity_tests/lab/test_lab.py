"""run_lab and `diptych lab`: the files and messages of an experiment, and refused arguments."""

from __future__ import annotations

import json

import pytest
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from diptych import lab
from diptych.cli import checks
from diptych.lab import Findings, run_lab
from diptych.runs import results, tables

TRUTHS = {"one is one": True, "more is more": True}


@pytest.fixture
def echo_experiment(monkeypatch):
    """Register an experiment `echo`; returns (its claims, the settings it was run with)."""
    truths, settings = dict(TRUTHS), []

    def echo(setting):
        settings.append(setting)
        table = Table(title="echo")
        table.add_column("quantity")
        table.add_row("42 nats")
        return Findings({"answer": 42}, table, Figure(), truths)

    monkeypatch.setitem(lab.EXPERIMENTS, "echo", echo)
    monkeypatch.setattr(checks, "EXPERIMENTS", (*checks.EXPERIMENTS, "echo"))
    return truths, settings


def test_findings_are_written_and_printed(echo_experiment, run, tmp_path):
    out, record = tmp_path / "lab", tmp_path / "lab_echo.json"
    status, message, _ = run(
        "lab", "echo", "--out", out, "--seeds", 2, "--quick", "--record", record
    )
    assert status == 0
    (setting,) = echo_experiment[1]
    assert setting.seeds == (0, 1) and setting.quick and setting.data.name == "digits"
    for expected in ("digits: 1297 train", "42 nats", "✓ one is one", "✓ more is more", "echo.png"):
        assert expected in message
    result = json.loads((out / "echo.json").read_text())
    assert result["results"] == {"answer": 42} and result["truths"] == TRUTHS
    assert result["seeds"] == [0, 1] and result["quick"] and result["versions"]
    assert "42 nats" in (out / "echo.txt").read_text()
    assert (out / "echo.png").read_bytes().startswith(b"\x89PNG")
    page = tables.results_page(results.read_all(tmp_path))
    assert "| echo | digits | 2 | 2 of 2 |" in page and "- ✓ more is more" in page
    assert results.read(record)["metrics"]["results"] == {"answer": 42}


def test_the_models_take_the_seeds_from_the_first_on(echo_experiment, run, tmp_path):
    run("lab", "echo", "--out", tmp_path, "--seeds", 3, "--first-seed", 2)
    assert echo_experiment[1][0].seeds == (2, 3, 4)


def test_a_claim_that_fails_is_the_exit_status(echo_experiment, run, tmp_path):
    echo_experiment[0]["more is more"] = False
    status, message, _ = run(
        "lab", "echo", "--out", tmp_path / "lab", "--record", tmp_path / "lab_echo.json"
    )
    assert status == 1 and "✗ more is more" in message and "✓ one is one" in message
    page = tables.results_page(results.read_all(tmp_path))
    assert "1 of 2" in page and "- ✗ more is more" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ecko"], "experiment: got 'ecko', takes one of"),
        (["echo", "--data", "copy:5"], "data: got copy:5, the laboratory takes images"),
        (["echo", "--seeds", "0"], "--seeds: got 0, takes an int >= 1"),
        (["echo", "--first-seed", "-1"], "--first-seed: got -1, takes an int >= 0"),
        (["echo", "--out", "{file}/below"], "cannot write there"),
    ],
)
def test_invalid_arguments_are_refused_before_the_experiment(
    echo_experiment, run, tmp_path, arguments, message
):
    file = tmp_path / "file"
    file.write_text("somebody's")
    result = run(
        "lab",
        *(a.format(file=file) for a in arguments),
        *([] if "--out" in arguments else ["--out", tmp_path / "out"]),
    )
    assert result[0] == 1 and message in result[2]
    assert not echo_experiment[1] and not (tmp_path / "out").exists()


def test_repeated_seeds_are_refused(echo_experiment, tmp_path):
    with pytest.raises(ValueError, match=r"seeds: got \[1, 1\], takes one or more, each once"):
        run_lab("echo", tmp_path / "out", Console(quiet=True), seeds=(1, 1))


def test_infinite_results_raise_and_write_no_file(echo_experiment, tmp_path, monkeypatch):
    broken = Findings({"answer": float("inf")}, Table(), Figure(), {})
    monkeypatch.setitem(lab.EXPERIMENTS, "echo", lambda setting: broken)
    with pytest.raises(ValueError, match="JSON"):
        run_lab("echo", tmp_path / "out", Console(quiet=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "data", "takes"),
    [
        ("colour", "digits", "takes colour_digits"),
        *(
            (name, "colour_digits", "takes images of one channel")
            for name in ("autoencoder", "beta", "bound", "estimators", "likelihoods", "lossy")
        ),
    ],
)
def test_data_that_an_experiment_refuses_leave_no_folder(run, tmp_path, name, data, takes):
    out = tmp_path / "new" / "out"
    status, _, message = run("lab", name, "--data", data, "--quick", "--out", out)
    assert status == 1 and message == f"error: --data: got {data}, {takes}\n"
    assert not out.parent.exists()


def test_a_failure_leaves_a_folder_and_files_of_earlier_experiments(run, tmp_path):
    (tmp_path / "echo.txt").write_text("42 nats")
    for out in (tmp_path, tmp_path / "empty"):
        out.mkdir(exist_ok=True)
        assert run("lab", "colour", "--data", "digits", "--out", out)[0] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["echo.txt", "empty"]
