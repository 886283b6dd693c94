"""benchmarks/paired_runs.py: the difference of two runs on the same images, as a record."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

from diptych.runs import results

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "paired_runs.py"
SMALL = ["--set", "hidden_dim=5", "--set", "latent_dim=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on the digits and one on binary digits, each with a file of --per-image.

    A fourth has not begun.
    """
    from diptych.cli import main  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("runs")
    for name, data, seed in (("a", "digits", 0), ("b", "digits", 1), ("c", "binary_digits", 0)):
        out = str(folder / name)
        train = ["train", "mlp_vae", "--data", data, "--epochs", "1", "--seed", str(seed), *SMALL]
        for line in (
            [*train, "--out", out],
            ["evaluate", out, "--samples", "2", "--per-image", f"{out}.csv"],
        ):
            with pytest.raises(SystemExit) as ended:
                main(line)
            assert not ended.value.code
    (folder / "empty").mkdir()
    shutil.copy(folder / "b" / "run.json", folder / "empty")
    return folder


@pytest.fixture
def compare(monkeypatch, runs, capsys):
    """A function that runs the script on files and folders; returns what it printed."""

    def call(files, folders, record):
        line = [str(SCRIPT), *(str(runs / f"{name}.csv") for name in files)]
        line += ["--record", str(record), "--runs", *(str(runs / name) for name in folders)]
        monkeypatch.setattr(sys, "argv", line)
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_the_record_has_the_difference_and_both_runs(compare, tmp_path):
    record = tmp_path / "pair.json"
    printed = compare("ab", "ab", record)
    metrics = results.read(record)["metrics"]
    assert f"{metrics['paired_difference']:+.3f} ± " in printed and metrics["images"] == 300
    assert [run["seed"] for run in metrics["settings"]["models"]] == [0, 1]


@pytest.mark.parametrize(
    ("files", "folders", "message"),
    [
        ("ac", "ac", "c.csv: has other images than"),
        ("ab", "ac", "c was trained on other data than"),
        ("ab", ["a", "empty"], "empty has no finished epoch"),
    ],
)
def test_what_is_no_pair_is_one_error_and_nothing_is_written(
    compare, capsys, tmp_path, files, folders, message
):
    record = tmp_path / "pair.json"
    with pytest.raises(SystemExit):
        compare(files, folders, record)
    assert message in capsys.readouterr().err and not record.exists()
