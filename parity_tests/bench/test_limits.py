"""The command that records every model's share of the roofline, and the table of the record."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from diptych.bench import costs, limits
from diptych.pairs import get
from diptych.runs import results
from diptych.runs.tables.limits import distances


def rows(model: str, fraction: float = 0.5) -> dict[str, list[dict[str, Any]]]:
    """The metrics of one model with one size, as `measure` returns them."""
    key = {"model": model, "config": "small", "batch": 4, "dtype": "float32"}
    step = {"operation": "step", "ms": 2.0, "limit_ms": 1.0, "bound": "bytes"}
    top = [{"name": "linear (numpy_ref/nn/functional.py:12)", "share": 0.4}]
    return {
        "peaks": [{"backend": "numpy", "dtype": "float32", "flops": 2e11, "bytes": 1e10}],
        "roofline": [key | step | {"backend": "numpy", "fraction": fraction}],
        "profiles": [key | {"backend": "numpy", "overhead": 1.2, "top": top}],
    }


def test_the_table_names_the_limit_the_share_and_the_largest_parts() -> None:
    text = distances([{"metrics": {"threads": 2} | rows("rnn")}])
    assert "| float32 | numpy | 200 | 10.0 |" in text
    assert "| rnn small, batch 4 | float32 | 1, memory | 2, 50 % | – |" in text
    assert "| rnn small, float32, numpy | linear 40 % |  |  |  |  | 1.2 |" in text


def test_a_record_that_is_added_to_keeps_other_models_in_order() -> None:
    old = {
        name: rows("mlp_vae")[name] + rows("lstm", 0.1)[name] for name in ("roofline", "profiles")
    }
    merged = limits.merged(old, rows("lstm", 0.9))
    merged = limits.merged(merged, rows("conv_vae"))
    shares = [(row["model"], row["fraction"]) for row in merged["roofline"]]
    assert shares == [("mlp_vae", 0.5), ("conv_vae", 0.5), ("lstm", 0.9)]
    assert [row["model"] for row in merged["profiles"]] == ["mlp_vae", "conv_vae", "lstm"]


def test_the_command_writes_shares_that_follow_from_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "roofline.json"
    monkeypatch.setattr(
        sys, "argv", ["limits", "mlp_vae", "--quick", "--threads", "1", "--json", str(file)]
    )
    limits.main()
    metrics = results.read(file)["metrics"]
    peak = max(row["flops"] for row in metrics["peaks"] if row["dtype"] == "float64")
    assert {row["backend"] for row in metrics["roofline"]} == {"numpy", "torch"}
    assert len(metrics["roofline"]) == len(metrics["profiles"]) == 8
    pair, size = get("mlp_vae"), "784-400-20, batch 128"
    config, batch = pair.sizes[size]
    flops = costs.cost(pair, config, batch, "float64", "step").flops
    for row in metrics["roofline"]:
        assert row["fraction"] == pytest.approx(row["limit_ms"] / row["ms"])
        if row["config"] == "784-400-20" and row["dtype"] == "float64":
            assert row["flops"] == flops
            assert row["limit_ms"] >= 1e3 * flops / peak * (1 - 1e-9)
    for profile in metrics["profiles"]:
        shares = [part["share"] for part in profile["top"]]
        assert len(shares) == 5
        assert shares == sorted(shares, reverse=True)
    assert distances([{"metrics": metrics}])
