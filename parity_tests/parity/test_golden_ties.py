"""A recording remembers which parameters are one."""

import numpy as np
import torch

from diptych import parity, weights
from diptych.parity.recordings.golden import load_run


class TwoLayers(torch.nn.Module):
    """Two layers with one bias or two."""

    def __init__(self, tied):
        super().__init__()
        self.a = torch.nn.Linear(3, 3, dtype=torch.float64)
        self.b = torch.nn.Linear(3, 3, dtype=torch.float64)
        if tied:
            self.b.bias = self.a.bias

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def test_ties_are_recorded_and_compared(tmp_path):
    golden, x = tmp_path / "golden.safetensors", np.linspace(-1, 1, 12).reshape(4, 3)
    tied, twin, untied = TwoLayers(True), TwoLayers(True), TwoLayers(False)
    for model in (twin, untied):
        weights.transfer(tied, model)
    with parity.record(golden, tied):
        tied(torch.from_numpy(x).requires_grad_()).sum().backward()
    assert load_run(golden).ties == (frozenset({"a.bias", "b.bias"}),)
    assert parity.compare(golden, twin, x).ok
    report = parity.compare(golden, untied, x)
    assert not report.ok and "tied to" in str(report)
