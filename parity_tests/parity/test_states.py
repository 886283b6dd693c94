"""Weights that differ before anything ran are a root cause, and the only one."""

import numpy as np
import torch

import numpy_ref.nn
from diptych import parity, weights


def test_a_weight_that_differs_is_a_root_cause_and_no_other_row_is_one():
    left, right = numpy_ref.nn.Linear(3, 2), torch.nn.Linear(3, 2, dtype=torch.float64)
    weights.transfer(left, right)
    with torch.no_grad():
        right.bias += torch.tensor([0.0, 0.5])
    report = parity.compare(left, right, np.ones((4, 3)))
    origins = {(row.name, row.kind): row.origin for row in report.rows}
    assert origins["bias", "parameter"] == "root cause"
    assert origins["weight", "parameter"] == ""
    assert [row.origin for row in report.rows if row.ok and row.origin] == []
    assert all(row.origin for row in report.rows if not row.ok)
    assert report.first_divergence.name == "bias"
