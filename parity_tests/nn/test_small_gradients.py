"""Gradients keep their relative precision where they are tiny."""

import numpy as np
import pytest
import torch
from torch import nn

from diptych.parity.measures.rows import compare_arrays
from numpy_ref.nn.functional import elu


@pytest.mark.parametrize("x", [-1e-9, -1.0, -30.0, -100.0, -700.0])
def test_the_derivative_of_elu_is_exp_x_to_16_digits(x):
    """y + 1 = e^x as well, but y is rounded: at -30 it would keep 3 digits, at -100 none."""
    _, vjp = elu(np.array([x]))
    assert vjp(np.ones(1))[0] == pytest.approx(np.exp(x), rel=1e-15)
    tensor = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    nn.ELU()(tensor).backward()
    assert tensor.grad.item() == pytest.approx(np.exp(x), rel=1e-15)


def test_numbers_below_the_range_of_float32_are_no_tensor_of_their_own():
    """1e-50 is 0 in float32; beside elements of 1e-2 that is no error of 100 %."""
    reference = np.array([1e-2, 2e-2, 1e-50, 3e-40])
    row = compare_arrays("dx", "input gradient", reference.astype(np.float32), reference, 1e-6)
    assert row.ok
    tiny = np.array([1e-2, 2e-2, 1e-30, 3e-30])
    off = compare_arrays("dx", "input gradient", np.float32([1e-2, 2e-2, 0, 0]), tiny, 1e-6)
    assert not off.ok
