"""Modules are matched by their paths, and one module may stand under several."""

import numpy as np
import pytest
import torch

import numpy_ref.nn
from diptych import parity, weights
from diptych.parity.running.torch_side import TorchSide
from numpy_ref.nn.functional import Tanh


class Left(numpy_ref.nn.Module):
    """A layer and its activation."""

    def __init__(self):
        self.linear = numpy_ref.nn.Linear(3, 2)
        self.tanh = Tanh()

    def forward(self, x):
        h, h_vjp = self.linear(x)
        y, y_vjp = self.tanh(h)
        return y, lambda dy: h_vjp(y_vjp(dy))


class Right(torch.nn.Module):
    """The same, with the activation under a second name, and perhaps one layer more."""

    def __init__(self, more):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2, dtype=torch.float64)
        self.tanh = self.alias = torch.nn.Tanh()
        if more:
            self.more = torch.nn.Tanh()

    def forward(self, x):
        return self.alias(self.linear(x))


@pytest.mark.parametrize("more", [False, True])
def test_a_second_name_of_a_matched_module_is_not_reported_as_left_out(more):
    left, right = Left(), Right(more)
    weights.transfer(left.linear, right.linear)
    report = parity.compare(left, right, np.ones((4, 3)))
    assert report.ok
    assert len(report.not_compared) == more
    assert all("module more of the right" in line for line in report.not_compared)


def test_a_pair_that_agrees_needs_neither_a_reference_nor_a_noisy_run():
    for dtype in ("float64", "float32"):
        left, right = Left().astype(dtype), Right(more=False).to(getattr(torch, dtype))
        weights.transfer(left.linear, right.linear)
        report = parity.compare(left, right, np.ones((4, 3), dtype))
        assert report.ok and report.dtype == dtype
        assert report.runs["left"] == report.runs["right"] == 2
        assert report.runs["float64 reference"] == report.runs["noisy"] == 0


def test_the_device_of_a_report_is_that_of_the_model_that_is_not_on_the_cpu(monkeypatch):
    """ "cpu:0" stands for a device of another name."""
    monkeypatch.setattr(TorchSide, "device", property(lambda side: "cpu:0"))
    left, right = Left(), Right(more=False)
    weights.transfer(left.linear, right.linear)
    report = parity.compare(left, right, np.ones((4, 3)))
    assert report.ok and report.device == "cpu:0"
    assert "save_case" in report.reproducer and report.key == "Key(0)"
