"""benchmarks/reading.py counts the files and moves behind one loss and its gradients."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "reading.py"


def count(*arguments):
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_model_is_counted_with_the_files_that_it_runs_through():
    counts = json.loads(count("--json").stdout)
    assert list(counts) == ["mlp_vae", "conv_vae", "vlae", "rnn", "lstm"]
    for name, result in counts.items():
        assert f"numpy_ref/{name}.py" in result["files"]
        assert "numpy_ref/nn/init.py" not in result["files"], "construction was counted"
        assert all((ROOT / file).is_file() for file in result["files"])
        assert 0 < result["moves_between_rooms"] <= result["moves_between_files"]
    assert counts["vlae"]["moves_between_files"] > 3 * counts["mlp_vae"]["moves_between_files"]


def test_the_table_has_one_row_for_each_model():
    lines = count("--root", str(ROOT)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "model",
        "mlp_vae",
        "conv_vae",
        "vlae",
        "rnn",
        "lstm",
    ]
    assert all(len(line) <= 80 and len(line.split()) == 4 for line in lines[1:])


def test_a_root_without_a_left_panel_is_refused(tmp_path):
    result = count("--root", str(tmp_path))
    assert result.returncode == 2 and "--root: got" in result.stderr
