"""Peak rates, the limit that they set, and the profiles behind a time."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.bench import peaks, profiles, roofline
from diptych.bench.costs import Cost
from diptych.bench.peaks import Peak
from numpy_ref.nn.layers import Linear

PEAK = Peak(flops=1e11, bytes=1e10)


def cost(flops: float, moved: float) -> Cost:
    return Cost(flops, moved, 2 * flops, 3 * moved)


def test_the_limit_is_the_longer_of_two_times_and_says_which() -> None:
    assert roofline.limit(cost(1e9, 1e7), PEAK) == (1e-2, "flops")
    assert roofline.limit(cost(1e9, 1e9), PEAK) == (1e-1, "bytes")


def test_the_limit_takes_the_least_flops_and_bytes() -> None:
    """Dense FLOPs and traffic without caches are not necessary, so they are no limit."""
    least, more = Cost(1e9, 1e7, 1e9, 1e7), Cost(1e9, 1e7, 9e9, 9e9)
    assert roofline.limit(least, PEAK) == roofline.limit(more, PEAK)


def test_the_fraction_is_the_limit_divided_by_the_time() -> None:
    assert roofline.fraction(cost(1e9, 1e7), PEAK, 0.04) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="seconds: got 0, takes a positive number"):
        roofline.fraction(cost(1e9, 1e7), PEAK, 0)


@pytest.mark.parametrize("backend", peaks.BACKENDS)
def test_peaks_are_the_rates_of_a_product_and_a_copy(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product of 2 n^3 FLOPs cannot be faster than the peak by much, nor slower than a tenth."""
    monkeypatch.setattr(peaks, "SIDES", (256,))
    monkeypatch.setattr(peaks, "copied_bytes", lambda: 2**24)
    peak = peaks.measure(backend, "float32", quick=True)
    a = np.ones((256, 256), np.float32)
    start = time.perf_counter()
    for _ in range(50):
        a @ a
    rate = 50 * 2 * 256**3 / (time.perf_counter() - start)
    assert 0.05 < peak.flops / rate < 20
    assert 1e8 < peak.bytes < 1e13


def test_the_faster_of_two_peaks_is_taken_for_each_rate() -> None:
    assert peaks.best([Peak(1, 4), Peak(3, 2)]) == Peak(3, 4)


def test_numpy_has_no_peak_on_a_gpu() -> None:
    with pytest.raises(ValueError, match="device: got 'cuda', takes"):
        peaks.measure("numpy", "float32", "cuda")
    with pytest.raises(ValueError, match="backend: got 'jax', takes"):
        peaks.measure("jax", "float32")


def test_the_copied_arrays_exceed_the_last_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, size in enumerate(("48K", "2048K", "160M")):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        (folder / "size").write_text(f"{size}\n")
    monkeypatch.setattr(peaks, "CACHE", tmp_path)
    assert peaks.copied_bytes() == 200 * 2**20
    monkeypatch.setattr(peaks, "CACHE", tmp_path / "none")
    assert peaks.copied_bytes() == peaks.LEAST_BYTES


def test_a_profile_of_numpy_names_the_function_its_file_and_line() -> None:
    """The product of a large matrix is the whole time of Linear's forward pass."""
    layer = Linear(600, 600)
    layer.weight.data[...] = 0.1
    x = np.ones((600, 600))
    profile = profiles.profile(lambda: layer(x), "numpy")
    first = profile.rows[0]
    assert first.name.startswith("linear (numpy_ref/nn/functional.py:")
    assert first.share > 0.5
    assert profile.seconds > 0
    assert 0.2 < profile.overhead < 5


def test_a_profile_of_torch_names_the_operation() -> None:
    """Rows are sorted by their share of the call, and shares are of the whole."""
    x = torch.ones(600, 600)
    rows = profiles.top(lambda: (x @ x).add_(1), "torch", count=3)
    assert rows[0].name == "matrix product (aten::mm)"
    assert rows[0].share > 0.5
    assert [row.share for row in rows] == sorted((row.share for row in rows), reverse=True)
    assert sum(row.share for row in rows) <= 1 + 1e-9


def test_time_outside_of_torchs_operations_is_a_row() -> None:
    def run() -> None:
        time.sleep(0.02)
        torch.ones(3) + 1

    row = profiles.top(run, "torch")[0]
    assert row.name == profiles.REST
    assert row.share > 0.5


def test_a_profile_of_another_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backend: got 'jax', takes"):
        profiles.top(lambda: None, "jax")
