"""`compare_streams` draws every kind of random number on both panels and names one that differs."""

import pytest
import torch

from diptych.parity import streams
from diptych.parity.streams import compare_streams
from model_specs.common.key import Key

ROWS = {
    "bits": "bits",
    "permutation": "permutation",
    "dropout_mask, rate 0.3": "dropout_mask",
    "dropout_mask, rate 0.65": "dropout_mask",
    "uniform": "uniform",
    "normal": "normal",
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kind_of_random_number_is_compared_and_agrees(dtype):
    report = compare_streams(dtype, key=Key(3))
    assert [row.name for row in report.rows] == list(ROWS)
    assert report.ok and report.masks_equal is True
    assert all(row.bound == 0 for row in report.rows if row.name != "normal")
    assert 0 < report.rows[-1].bound < (1e-5 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("name", ["bits", "permutation", "dropout_mask", "uniform", "normal"])
def test_a_stream_that_differs_on_the_right_is_named(name, monkeypatch):
    draw = getattr(streams.right, name)

    def other(*arguments, **options):
        values = draw(*arguments, **options).clone()
        values[-1] = ~values[-1] if values.dtype == torch.bool else values[-1] + 2.0**-12
        return values if values.is_floating_point() else values.roll(1, 0)

    monkeypatch.setattr(streams.right, name, other)
    report = compare_streams(key=Key(3))
    failures = [row.name for row in report.rows if not row.ok]
    assert not report.ok and {ROWS[row] for row in failures} >= {name}
    assert report.first_divergence.name in [row for row, kind in ROWS.items() if kind == name]
