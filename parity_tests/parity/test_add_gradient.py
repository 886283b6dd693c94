"""Gradients of one value add up, whatever a vjp gives for "no gradient"."""

import numpy as np
import torch

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
