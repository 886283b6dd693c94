"""`diptych bench`: what it compares, prints and writes, and how it ends after an error."""

import dataclasses
import json
import re

import pytest
from helpers.bench_in_process import WorkerInProcess

from diptych import bench, pairs
from diptych.bench import autoregressive, backends, clock, measure, peaks, points, shares
from diptych.runs import results
from diptych.runs.environment import command_line
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from model_specs.vlae import VLAEConfig

IMAGE = {"height": 4, "width": 6, "maps": 2, "hidden_dim": 5, "latent_dim": 3, "flow_steps": 2}
IMAGE |= {"flow_hidden_dim": 7, "flow_hidden_layers": 2, "decoder_maps": 4, "masked_layers": 3}
WORDS = {"vocab_size": 8, "embedding_dim": 6, "hidden_dim": 5, "seq_len": 4}
SMALL = {
    "mlp_vae": {"7-5-2, batch 3": (MLPVAEConfig(7, 5, 2), 3)},
    "vlae": {"4 x 6, batch 3": (VLAEConfig(**IMAGE), 3)},
    "lstm": {"H 5, T 4, batch 3": (LSTMConfig(**WORDS, scheme="per_step", rate=0.4), 3)},
}
SPEED = {
    *("model", "config", "batch", "dtype", "operation", "backend", "preset", "ms", "ms_iqr"),
    *("rounds", "calls", "ratio", "per_second", "unit", "host_mib", "device_mib"),
    *("flops", "bytes", "roofline", "bound"),
}
COMPARED = {
    *("model", "config", "batch", "dtype", "operation", "backend"),
    *("tensors", "error", "bound", "tensor"),
}
CUT = {"model", "config", "batch", "dtype", "backend", "reason"}
CROSSOVERS = {"model", "config", "dtype", "backend", "batch", "text"}
PEAKS = {"device", "dtype", "flops", "bytes"}
TOP = {"model", "config", "batch", "dtype", "backend", "name", "share"}
METRICS = {
    *("threads", "device", "quick", "base", "speed", "compared", "cut", "crossovers"),
    *("peaks", "top"),
}


@pytest.fixture
def small(monkeypatch):
    """Small sizes of three models, workers in this process, and turns of one call."""
    for model, sizes in SMALL.items():
        small_pair = dataclasses.replace(pairs.get(model), sizes=sizes)
        monkeypatch.setitem(pairs.PAIRS, model, small_pair)
    for module in (measure, shares):
        monkeypatch.setattr(module, "WorkerProcess", WorkerInProcess)
    monkeypatch.setattr(peaks, "measure", lambda *a, **k: peaks.Peak(1e10, 1e9))
    monkeypatch.setattr(clock, "SETTLE", 0.0)
    monkeypatch.setattr(clock, "REST", 0.0)
    monkeypatch.setattr(clock, "CALLS", 1)


def written(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_keys_of_the_metrics_are_stable(small, run, tmp_path):
    """docs/speed.md describes these keys; a change of one must change the page, too."""
    file = tmp_path / "speed.json"
    command = ["bench", "mlp_vae", "lstm", "--no-compiled", "--sizes", "1,4", "--rounds", 1]
    status, out, error = run(*command, "--json", file, "--out", tmp_path / "page")
    assert status == 0, error
    record = results.read(file)
    assert set(record["metrics"]) == METRICS
    rows = record["metrics"]["speed"]
    assert all(set(row) == SPEED for row in rows)
    assert all(set(row) == COMPARED for row in record["metrics"]["compared"])
    for name, keys in {"crossovers": CROSSOVERS, "peaks": PEAKS, "top": TOP}.items():
        assert record["metrics"][name], name
        assert all(set(row) == keys for row in record["metrics"][name])
    timed = {tuple(row[k] for k in ("model", "batch", "dtype", "backend")) for row in rows}
    compared = {
        tuple(row[k] for k in ("model", "batch", "dtype", "backend"))
        for row in record["metrics"]["compared"]
    }
    assert timed == compared, "what was not compared is not timed"
    assert len(timed) == 2 * 3 * 2 * 3  # models, batches, dtypes, backends
    for row in rows:
        assert row["ms"] > 0 and row["calls"] >= row["rounds"] == 1
        words = 4 if row["model"] == "lstm" else 1
        assert row["per_second"] == pytest.approx(1e3 * words * row["batch"] / row["ms"])
        assert row["unit"] == ("words" if row["model"] == "lstm" else "examples")
        assert row["preset"] == (row["batch"] == 3) and (
            row["preset"] or row["operation"] == "step"
        )
        if row["backend"] == "torch":
            assert row["ratio"] == 1
        least = max(row["flops"] / 1e10, row["bytes"] / 1e9)
        assert row["roofline"] == pytest.approx(1e3 * least / row["ms"])
    assert "mlp_vae 7-5-2, float32: ms of a step" in out and str(file) in out
    assert written(tmp_path / "page") == {
        "index.html",
        *(f"figures/{name}.png" for name in ("bars", "mlp_vae", "lstm")),
    }


def test_the_page_holds_its_style_and_its_figures(small, run, tmp_path):
    status, _, error = run(
        *("bench", "mlp_vae", "--quick", "--rounds", 1, "--out", tmp_path), *("--sizes", "1,6")
    )
    assert status == 0, error
    page = (tmp_path / "index.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "it requests nothing"
    assert page.count("data:image/svg+xml;base64,") == 2 and "<style>" in page
    assert f"{command_line()}</code>" in page and "7-5-2, batch 3" in page


def test_parts_and_plain_torch_are_compared_and_timed(small, run, tmp_path):
    file = tmp_path / "speed.json"
    command = ["bench", "vlae", "lstm", "--parts", "--no-compiled", "--rounds", 1, "--sizes", "3"]
    command += ["--dtype", "float64"]
    status, _, error = run(*command, "--json", file, "--out", tmp_path / "page")
    assert status == 0, error
    metrics = results.read(file)["metrics"]
    (config, _), *_ = SMALL["vlae"].values()
    others = {o for o in autoregressive.OPERATIONS if not autoregressive.has(config, o)}
    expected = {model: set(bench.operations(model)) for model in ("vlae", "lstm")}
    expected["vlae"] -= others
    for model, operations in expected.items():
        names = {row["operation"] for row in metrics["speed"] if row["model"] == model}
        assert names == operations and len(names) > 3
    plain = [row for row in metrics["compared"] if row["backend"] == "plain torch"]
    assert {row["operation"] for row in plain} >= {"step"} and all(
        row["error"] <= row["bound"] for row in plain
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_backend_with_a_wrong_gradient_is_not_timed(small, run, tmp_path, monkeypatch, dtype):
    """One element of one gradient is off by one percent of the largest."""

    def make(case):
        steps = backends.torch_steps(case)

        def values():
            terms, gradients = steps.values()
            gradient = gradients["decoder_hidden.weight"]
            gradient[1, 1] += 0.01 * abs(gradient).max()
            return terms, gradients

        return steps._replace(values=values)

    monkeypatch.setitem(backends.BACKENDS, "torch", backends.Backend(make))
    monkeypatch.setattr(clock, "turn", lambda run: pytest.fail("it was timed"))
    file = tmp_path / "speed.json"
    status, _, error = run(
        *("bench", "mlp_vae", "--dtype", dtype, "--sizes", "3", "--no-compiled"),
        *("--json", file, "--out", tmp_path / "page"),
    )
    assert status == 1 and "gradient decoder_hidden.weight" in error
    assert "torch, mlp_vae, 7-5-2, batch 3" in error and "nothing is timed" in error
    assert not written(tmp_path)


def test_a_backend_that_lacks_a_gradient_is_not_timed(small, run, tmp_path, monkeypatch):
    def make(case):
        steps = backends.torch_steps(case)
        keep = lambda named: {n: g for n, g in named.items() if n != "posterior.mu.bias"}  # noqa: E731
        return steps._replace(values=lambda: (steps.values()[0], keep(steps.values()[1])))

    monkeypatch.setitem(backends.BACKENDS, "torch", backends.Backend(make))
    status, _, error = run(
        *("bench", "mlp_vae", "--sizes", "3", "--no-compiled", "--out", tmp_path / "page")
    )
    assert status == 1 and "posterior.mu.bias" in error and "missing" in error


def test_ctrl_c_prints_what_was_measured_and_writes_nothing(small, run, tmp_path, monkeypatch):
    turn, count = clock.turn, []

    def interrupted(operation):
        count.append(1)
        if len(count) > 6:
            raise KeyboardInterrupt
        return turn(operation)

    monkeypatch.setattr(clock, "turn", interrupted)
    status, out, error = run(
        *("bench", "mlp_vae", "--no-compiled", "--rounds", 1, "--sizes", "3,4"),
        *("--json", tmp_path / "speed.json", "--out", tmp_path / "page"),
    )
    assert status == 130 and error.endswith("error: interrupted\n")
    assert "mlp_vae: median" in out and not written(tmp_path)


def test_a_size_at_which_a_backend_fails_is_cut(small, run, tmp_path, monkeypatch):
    """As when the memory of a GPU is full."""

    def make(case):
        if case.batch_size > 4:
            raise MemoryError("out of memory")
        return backends.torch_steps(case)

    monkeypatch.setitem(backends.BACKENDS, "torch", backends.Backend(make))
    file = tmp_path / "speed.json"
    status, out, error = run(
        *("bench", "mlp_vae", "--quick", "--rounds", 1, "--sizes", "2,5,9"),
        *("--json", file, "--out", tmp_path / "page"),
    )
    assert status == 0, error
    cut = json.loads(file.read_text())["metrics"]["cut"]
    assert all(set(row) == CUT for row in cut)
    assert [(row["backend"], row["batch"], row["reason"]) for row in cut] == [
        ("torch", 5, "out of memory"),
        ("torch", 9, "out of memory"),
    ]
    assert "torch was not timed at batch 5 and above: out of memory" in out


def test_a_backend_that_differs_at_a_large_float32_batch_is_left_out_there(
    small, run, tmp_path, monkeypatch
):
    """The rest of a long run is not lost, and the difference is an error at its end."""

    def make(case):
        steps = backends.torch_steps(case)

        def values():
            terms, gradients = steps.values()
            gradients["decoder_hidden.weight"][1, 1] += case.batch_size > 4
            return terms, gradients

        return steps._replace(values=values)

    monkeypatch.setitem(backends.BACKENDS, "torch", backends.Backend(make))
    file = tmp_path / "speed.json"
    status, out, error = run(
        *("bench", "mlp_vae", "--quick", "--rounds", 1, "--sizes", "2,5,9"),
        *("--json", file, "--out", tmp_path / "page"),
    )
    assert status == 1 and "batch 5, float32" in error and "the rest was timed" in error
    metrics = json.loads(file.read_text())["metrics"]
    assert {(row["backend"], row["batch"]) for row in metrics["cut"]} == {
        ("torch", 5),
        ("torch", 9),
    }
    assert {row["batch"] for row in metrics["speed"] if row["backend"] == "numpy"} >= {2, 5, 9}
    assert "tensors differ from the left panel" in " ".join(out.split())

    file.unlink()
    status, _, error = run(
        *("bench", "mlp_vae", "--dtype", "float64", "--rounds", 1, "--sizes", "2,5"),
        *("--no-compiled", "--json", file, "--out", tmp_path / "page"),
    )
    assert status == 1 and "so nothing is timed" in error
    assert not file.exists()


def test_a_gpu_adds_its_backends_to_those_of_the_cpu():
    on_cpu = backends.names_for("cpu")
    assert on_cpu == ["numpy", "torch", "torch compiled", "plain torch"]
    assert backends.names_for("cuda")[: len(on_cpu)] == on_cpu
    assert {"torch cuda", "torch cuda compiled", "torch cuda captured"} < {
        *backends.names_for("cuda")
    }
    assert backends.names_for("cpu", plain=False, compiled=False) == ["numpy", "torch"]


def test_the_memory_of_the_machine_is_known_or_none():
    memory = points.total_memory()
    assert memory is None or memory > 2**28
