"""The backends of CUDA in `diptych bench`: compared, timed and measured on a pretended device."""

import pytest

SOURCE = """
from helpers.bench_in_process import WorkerInProcess
from diptych.bench import clock, measure, peaks, shares
from diptych.bench.points import Settings, plan
clock.SETTLE, clock.REST, clock.CALLS = 0.0, 0.0, 1
measure.WorkerProcess = shares.WorkerProcess = WorkerInProcess
peaks.measure = lambda *a, **k: peaks.Peak(1e10, 1e9)
settings = Settings(
    models=({model!r},), device="cuda", dtypes=("float32",), sizes=(2,), quick=True, rounds=1,
    compiled=False, plain=False, operations=("forward", "gradients", "step"),
)
measured = measure.Measured()
series = plan(settings)
series[0].points[:] = [
    point for point in series[0].points if not point.is_preset or {model!r} == "mlp_vae"
]
measure.Measurement(settings, lambda *a: None, measured).run(series)
result = {{"speed": measured.speed, "compared": measured.compared, "cut": measured.cut}}
"""


@pytest.mark.parametrize("model", ["mlp_vae", "rnn"])
def test_the_backends_of_cuda_are_compared_and_timed(pretended, model):
    result = pretended.ask("snippet", source=SOURCE.format(model=model))["result"]
    backends = ["numpy", "torch", "torch cuda", "torch cuda captured"]
    rows = [row for row in result["speed"] if row["operation"] == "step" and row["batch"] == 2]
    assert [row["backend"] for row in rows] == backends and not result["cut"]
    compared = {row["backend"]: row["error"] for row in result["compared"] if row["batch"] == 2}
    assert list(compared) == backends
    assert compared["torch cuda"] <= 1e-5 and compared["torch cuda captured"] <= 1e-5
    for row in rows:
        assert (row["device_mib"] is not None) == ("cuda" in row["backend"])
        assert row["ms"] > 0 and row["roofline"] > 0
