"""Fitted exponents, sweeps over sizes, and a step by several ranks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from diptych import pairs
from diptych.bench import scaling
from diptych.bench.scaling import operations, ranks, sweeps
from diptych.bench.scaling.__main__ import metrics
from diptych.bench.scaling.figures import figure
from diptych.bench.scaling.running import Row
from diptych.bench.scaling.sweeps import SWEEPS, Sweep
from diptych.figures.style import save
from diptych.runs.tables.scaling import growth
from model_specs.mlp_vae import MLPVAEConfig


def test_the_exponent_of_a_power_law_is_its_power() -> None:
    xs = [1, 2, 4, 8, 16, 32, 64, 128]
    exponent, standard_error, r2, first = scaling.fit(xs, [3e-3 * x**1.7 for x in xs])
    assert exponent == pytest.approx(1.7, abs=1e-12)
    assert standard_error == pytest.approx(0, abs=1e-9)
    assert r2 == pytest.approx(1)
    assert first == 16


def test_the_constant_time_of_small_sizes_is_not_fitted() -> None:
    """A call takes 1 ms and 1 ns x^2; the upper half of the range is the square alone."""
    xs = [2**k for k in range(4, 20)]
    seconds = [1e-3 + 1e-9 * x**2 for x in xs]
    assert scaling.fit(xs, seconds).exponent == pytest.approx(2, abs=0.05)
    whole = np.polyfit(np.log(xs), np.log(seconds), 1)[0]
    assert abs(whole - 2) > 0.3


def test_the_order_of_the_points_does_not_matter() -> None:
    xs, seconds = [1, 2, 4, 8, 16], [1.0, 1.1, 1.9, 4.2, 8.1]
    mixed = [3, 0, 4, 1, 2]
    order = scaling.fit([xs[i] for i in mixed], [seconds[i] for i in mixed])
    assert order == pytest.approx(scaling.fit(xs, seconds))


def test_noisy_times_have_a_standard_error() -> None:
    rng = np.random.default_rng(3)
    xs = [2**k for k in range(12)]
    noisy = [1e-6 * x * float(np.exp(0.2 * rng.standard_normal())) for x in xs]
    result = scaling.fit(xs, noisy)
    assert 0.02 < result.standard_error < 0.3
    assert abs(result.exponent - 1) < 4 * result.standard_error


@pytest.mark.parametrize(
    ("xs", "seconds", "message"),
    [([1, 2], [1.0, 2.0], "at least 3"), ([1, 2, 3], [1.0, 0.0, 2.0], "not positive")],
)
def test_too_few_points_or_a_time_of_zero_is_refused(
    xs: list[int], seconds: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scaling.fit(xs, seconds)


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: sweep.name)
def test_only_the_size_of_a_sweep_grows(sweep: Sweep) -> None:
    """Every value gives a valid config, and the named size has it; all other sizes stay."""
    first = sweep.point(sweep.values[0])
    for value in sweep.values:
        point = sweep.point(value)
        sizes = vars(point.config) | {"batch": point.batch_size, "K": point.draws}
        base = vars(first.config) | {"batch": first.batch_size, "K": first.draws}
        assert all(sizes[name] == value for name in sweep.names)
        assert {k: v for k, v in sizes.items() if k not in sweep.names} == {
            k: v for k, v in base.items() if k not in sweep.names
        }
    assert len(sweep.quick().values) == 3
    assert set(sweep.quick().values) < set(sweep.values)


def test_every_model_and_every_kind_of_size_has_a_sweep() -> None:
    axes = {(sweep.model, sweep.axis) for sweep in SWEEPS}
    assert {(model, "batch") for model in pairs.PAIRS} < axes
    assert {("conv_vae", "image side"), ("vlae", "image side")} < axes
    assert {("rnn", "steps"), ("lstm", "steps"), ("mlp_vae", "importance samples")} < axes


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("operation", [sweeps.STEP, sweeps.LOG_WEIGHT])
def test_a_sweep_is_timed_value_by_value(
    operation: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = MLPVAEConfig(12, 8, 2)
    small = Sweep("mlp_vae", "batch", ("batch",), (1, 200), config, 1, operation, draws=4)
    monkeypatch.setattr(operations, "SWEEPS", (small,))
    seconds = operations.times(0, small.values, "float32", backend, rounds=1)
    assert len(seconds) == 2
    assert all(0 < value < 5 for value in seconds)


def rows() -> list[Row]:
    values, ms = (1, 2, 4, 8), [1.0, 2.1, 3.9, 8.2]
    return [
        Row(model, "batch", "step", backend, dtype, values, ms, scaling.fit(values, ms), 1.0)
        for model, dtype, backend in itertools.product(
            ("rnn", "lstm"), ("float32", "float64"), ("numpy", "torch")
        )
    ]


def test_the_figure_has_a_panel_for_each_sweep_and_a_line_for_each_backend(tmp_path: Path) -> None:
    drawn = figure(rows())
    axes = [axis for axis in drawn.axes if axis.axison]
    assert len(axes) == 4
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert [label.partition(":")[0] for label in labels] == ["numpy", "torch"]
    save(drawn, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


def test_the_table_has_the_exponents_of_both_backends() -> None:
    parallel = [ranks.RankRow("mlp_vae", 512, "float32", 2, 1, 12.3, 1.71)]
    text = growth([{"metrics": metrics(rows(), parallel, 2)}])
    exponent = "0.98 ± 0.05 (r² 0.997)"
    row = f"| lstm, batch 1 to 8 | float64 | {exponent} | {exponent} | 1.00 |"
    assert row in text
    assert "| mlp_vae, batch 512, float32 | 2 | 1 | 12.3 | 1.71 |" in text


def test_the_speedup_is_over_one_process_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {(1, 1): 0.08, (1, 2): 0.05, (2, 1): 0.04}
    monkeypatch.setattr(
        ranks,
        "_measure",
        lambda dtype, count, threads, steps: {"mlp_vae": (64, seconds[count, threads])},
    )
    result = {(row.ranks, row.threads): row.speedup for row in scaling.run_ranks()}
    assert result == pytest.approx({(1, 1): 1.0, (1, 2): 1.6, (2, 1): 2.0})
    assert list(result) == list(ranks.LAYOUTS)


def test_a_sweep_runs_in_a_process_of_its_own_and_is_fitted() -> None:
    sweep = SWEEPS[0]
    calls: list[tuple[str, int, int]] = []
    result = scaling.run(
        [sweep], backends=("numpy",), quick=True, progress=lambda *call: calls.append(call)
    )
    assert calls == [("mlp_vae, batch, numpy float32", 0, 1)]
    (row,) = result
    assert row.values == sweep.quick().values
    assert row.fit == scaling.fit(row.values, [ms / 1e3 for ms in row.ms])
    assert row.flops_exponent == pytest.approx(1, abs=1e-9)


def test_two_ranks_train_on_parts_of_one_batch() -> None:
    """The step is that of `diptych train` under torchrun, and rank 0 alone answers."""
    result = ranks._measure("float32", 2, 1, steps=1)
    assert {model: batch for model, (batch, _) in result.items()} == {
        "mlp_vae": 512,
        "conv_vae": 64,
    }
    assert all(0 < seconds < 30 for _, seconds in result.values())
