"""benchmarks/reading.py counts the files and moves behind one loss and its gradients."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "reading.py"


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_model_is_counted_with_the_files_that_it_runs_through():
    counts = json.loads(run("--json").stdout)
    assert list(counts) == ["mlp_vae", "conv_vae", "vlae", "rnn", "lstm"]
    for name, result in counts.items():
        assert f"numpy_ref/{name}.py" in result["files"]
        assert "numpy_ref/nn/init.py" not in result["files"], "construction was counted"
        assert all((ROOT / file).is_file() for file in result["files"])
        assert 0 < result["moves_between_rooms"] <= result["moves_between_files"]
    assert counts["vlae"]["moves_between_files"] > 3 * counts["mlp_vae"]["moves_between_files"]


def test_the_table_has_one_row_for_each_model_and_one_for_each_file():
    files = ["numpy_ref/rnn.py", "numpy_ref/nn/module.py"]
    counts = {"rnn": {"files": files, "moves_between_files": 37, "moves_between_rooms": 35}}
    table = runpy.run_path(str(SCRIPT))["table"]
    assert [line.split() for line in table(counts)][1:] == [["rnn", "2", "37", "35"]]
    assert [line.strip() for line in table(counts, files=True)][2:] == files


def test_a_root_without_a_left_panel_is_refused(tmp_path):
    result = run("--root", str(tmp_path))
    assert result.returncode == 2 and "--root: got" in result.stderr
