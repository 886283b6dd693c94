"""Bounds and statistics of the rows of three linear layers in a chain."""

import inspect
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import numpy_ref.nn
from diptych import parity, weights
from diptych.parity.comparing.references import References
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


def test_an_output_of_zeros_has_a_row_too():
    left, right, x = chain("float64")
    for parameter in left.parameters():
        parameter.data.fill(0)
    weights.transfer(left, right)
    report = parity.compare(left, right, x)
    names = {row.name for row in report.rows if row.kind == "output"}
    assert report.ok and names == {"0", "1", "2", "forward"}


def test_the_scale_of_a_run_is_its_largest_gradient_or_output():
    """Below a fraction of it a tensor may be nothing but rounding errors."""
    arrays = [np.array([3.0, 4.0]), np.array([1.0]), np.array([0.5])]
    scale = inspect.getattr_static(References, "_scale").func
    for order in itertools.permutations(arrays):
        root = SimpleNamespace(is_root=True, input_grads={"0": order[0]})
        inner = SimpleNamespace(is_root=False, input_grads={"0": np.array([99.0])})
        run = SimpleNamespace(calls={"f": root, "g": inner})
        run.gradients, run.outputs = {"w": order[1]}, {"": order[2], "ids": np.array([77])}
        assert scale(SimpleNamespace(reference=run)) == 5
    assert scale(SimpleNamespace(reference=None)) == 0


class TwoOutputs(torch.nn.Module):
    """A layer, and zeros that the left does not give."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(5, 5, dtype=torch.float64)

    def forward(self, x):
        y = self.linear(x)
        return y, 0 * y


class OneOutput(numpy_ref.nn.Module):
    """The layer alone."""

    def __init__(self):
        self.linear = numpy_ref.nn.Linear(5, 5)

    def forward(self, x):
        return self.linear(x)


def test_an_output_of_zeros_that_one_side_lacks_is_a_difference():
    left, right = OneOutput(), TwoOutputs()
    weights.transfer(left, right)
    report = parity.compare(left, right, chain("float64")[2])
    assert not report.ok
    assert any("missing on the left" in row.note for row in report.failures)
