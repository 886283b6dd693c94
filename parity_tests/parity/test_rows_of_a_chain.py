"""Bounds and statistics of the rows of three linear layers in a chain."""

import numpy as np
import pytest
import torch

import numpy_ref.nn
from diptych import parity, weights
from model_specs.common.key import Key


def chain(dtype):
    left = numpy_ref.nn.Sequential(
        *(numpy_ref.nn.Linear(5, 5, Key(i), dtype=dtype) for i in range(3))
    )
    right = torch.nn.Sequential(*(torch.nn.Linear(5, 5) for _ in range(3)))
    weights.transfer(left, right.to(getattr(torch, dtype)))
    return left, right, np.random.default_rng(0).normal(size=(4, 5)).astype(dtype)


def test_the_roundings_of_a_float32_bound_add_up_along_the_path():
    """Each layer adds a sum of 5 and ELEMENTWISE = 8, the model around them 1 + 8."""
    report = parity.compare(*chain("float32"))
    bounds = {(row.name, row.kind): row.bound for row in report.rows}
    roundings = {key: (bound / 8 * 2.0**24) ** 2 for key, bound in bounds.items()}
    expected = {
        ("0", "output"): 13,
        ("1", "output"): 26,
        ("2", "output"): 39,
        ("forward", "output"): 48,
        ("2", "output gradient"): 48,
        ("2.weight", "parameter gradient"): 61,
        ("1", "output gradient"): 61,
        ("0", "output gradient"): 74,
        ("0.bias", "parameter gradient"): 87,
        ("forward(x)", "input gradient"): 96,
        ("0.weight", "parameter"): 0,
    }
    assert report.ok
    assert {key: roundings[key] for key in expected} == pytest.approx(expected)


def test_failing_rows_have_statistics_in_ulp_and_agreeing_ones_have_none():
    left, right, x = chain("float64")
    off = torch.tensor([0, 0, 0, 0, 1e-6])
    right[1].forward = lambda h: torch.nn.functional.linear(h, right[1].weight, right[1].bias) + off
    report = parity.compare(left, right, x)
    assert not report.ok
    for row in report.rows:
        assert (row.statistics is None) == row.ok, row.name
    (row,) = (row for row in report.rows if (row.name, row.kind) == ("1", "output"))
    assert row.statistics.median <= 2 and row.statistics.max > 1e8
