"""The float64 bound of 1e-13, seen from outside: what lies just above it is named."""

import numpy as np
import pytest
import torch

import numpy_ref.nn
from diptych import parity, weights


class ScaledLinear(torch.nn.Linear):
    """A layer whose output is off by a factor."""

    factor = 1.0

    def forward(self, x):
        return super().forward(x) * self.factor


@pytest.mark.parametrize(("error", "agrees"), [(0.5e-13, True), (1.6e-13, False), (1e-12, False)])
def test_an_output_off_by_more_than_the_bound_is_named(error, agrees):
    """All weights and inputs are positive, so that no digit cancels."""
    left, right = numpy_ref.nn.Linear(3, 2), ScaledLinear(3, 2, dtype=torch.float64)
    for parameter in left.parameters():
        parameter.data[...] = np.arange(1, 1 + parameter.data.size).reshape(parameter.data.shape)
    weights.transfer(left, right)
    right.factor = 1 + error
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]])
    assert parity.compare(left, right, x).ok == agrees
