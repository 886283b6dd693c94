"""benchmarks/gpu_report.sh: the report of one GPU, rehearsed on the CPU, and its table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.runs import results
from diptych.runs.tables.gpu import ROWS, WAITING, gpus

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu_report.sh"
OUTCOMES = {
    "check_float64": {"pairs": 57, "diverged": ["lstm"], "worst_error": 2e-15, "status": 0},
    "check_float32": {"pairs": 57, "diverged": [], "worst_error": 3e-7, "status": 0},
    "train_mlp_vae": {
        "status": 0,
        "training_s": 2.34,
        "valid": [["total", 110.0], ["total", 98.765]],
        "settings": {"model": "mlp_vae", "data": "mnist"},
    },
    "train_vlae": {"status": "stopped after 100 s"},
}


def run_script(*arguments):
    return subprocess.run(
        ["bash", SCRIPT, *arguments],
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def write_report(folder, device="NVIDIA H200", rehearsal=False):
    common = {"command": "c", "seed": 0, "data": "mnist", "device": device, "time_s": 1.0}
    metrics = {"gpu_report": OUTCOMES, "rehearsal": rehearsal}
    results.write(folder / "report.json", name="gpu_report", metrics=metrics, **common)
    results.write(folder / "speed.json", name="speed", metrics={}, **common)


def test_a_rehearsal_on_the_cpu_runs_every_step(tmp_path):
    result = run_script(tmp_path / "report", "--device", "cpu")
    assert result.returncode == 0, result.stdout + result.stderr
    record = results.read(tmp_path / "report" / "report.json")
    outcomes = record["metrics"]["gpu_report"]
    assert record["metrics"]["rehearsal"] is True
    assert {step for _, step, _ in ROWS} | {"speed"} == set(outcomes)
    assert outcomes["check_float64"]["pairs"] == 5
    assert not outcomes["check_float64"]["diverged"]
    assert outcomes["train_mlp_vae"]["epochs"] == 2
    for file in ("speed.json", "trainings.png", "bench/index.html"):
        assert (tmp_path / "report" / file).exists()


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "old.json").write_text("{}")
    result = run_script(tmp_path, "--device", "cpu")
    assert result.returncode == 2
    assert "takes a new or an empty folder" in result.stderr


@pytest.mark.parametrize("device", ["tpu", "cuda:9"])
def test_an_absent_device_is_one_clear_error(tmp_path, device):
    result = run_script(tmp_path / "report", "--device", device)
    assert result.returncode == 2
    assert f"device: got '{device}'" in result.stderr
    assert "Traceback" not in result.stderr


def test_rows_wait_until_a_gpu_is_measured():
    assert gpus([]).count(WAITING) == len(ROWS)


def test_a_measured_gpu_has_its_column(tmp_path):
    write_report(tmp_path)
    text = gpus([results.read(tmp_path / "report.json")])
    assert "NVIDIA H200" in text
    assert "56 of 57 agree, worst error 2.0e-15" in text
    assert "2.3 s on mnist, validation total 98.77" in text
    assert "failed: stopped after 100 s" in text
    assert text.count(WAITING) == 1  # the LSTM has no outcome


def test_a_report_is_taken_under_the_name_of_its_gpu(tmp_path):
    write_report(tmp_path)
    target = tmp_path / "results"
    target.mkdir()
    results.take_gpu_report(tmp_path, target)
    names = [file.name for file in sorted(target.iterdir())]
    assert names == ["gpu_nvidia_h200.json", "speed_nvidia_h200.json"]
    record = json.loads((target / names[0]).read_text())
    assert record["metrics"]["gpu_report"] == OUTCOMES


def test_a_rehearsal_is_not_taken(tmp_path):
    write_report(tmp_path, device="cpu", rehearsal=True)
    with pytest.raises(ValueError, match="has no report of a GPU"):
        results.take_gpu_report(tmp_path, tmp_path)
