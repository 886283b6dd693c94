"""Gradients of one value add up, and those of two runs are compared."""

import numpy as np
import pytest
import torch

from diptych.parity.running.sides import _close
from diptych.parity.running.trace import add_gradient


def test_gradients_of_one_value_add_up():
    store = {}
    for gradient in (np.array([1.0, 2.0]), None, 0, 0.0, np.array([]), torch.tensor([0.5, 0.0])):
        add_gradient(store, "x", gradient)
    add_gradient(store, "y", 3.0)
    assert store["x"].tolist() == [1.5, 2.0] and float(store["y"]) == 3
    assert list(store) == ["x", "y"]


def test_no_gradient_leaves_no_entry():
    store = {}
    for gradient in (None, 0, 0.0, np.zeros((0, 3))):
        add_gradient(store, "x", gradient)
    assert store == {}


@pytest.mark.parametrize(
    ("a", "b", "bound", "least", "close"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0, 0.0, True),
        ([3.0, 4.4], [3.0, 4.0], 0.1, 0.0, True),  # 0.4 of a norm of 5
        ([3.0, 4.6], [3.0, 4.0], 0.1, 0.0, False),
        ([0.0, 0.4], [0.0, 0.0], 0.1, 5.0, True),  # relative to `least` where the norm is less
        ([0.0, 0.6], [0.0, 0.0], 0.1, 5.0, False),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0, 0.0, True),
        ([np.inf, 1.0], [np.inf, 1.1], 1.0, 1.0, False),
        ([1.0, np.nan], [1.0, 1.0], 1.0, 1.0, False),
    ],
)
def test_gradients_with_and_without_a_trace_are_close(a, b, bound, least, close):
    assert _close(np.array(a), np.array(b), bound, least) == close
