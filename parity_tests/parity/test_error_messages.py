"""What an AssertionError and a refusal say, and how wide their lines are."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import numpy_ref.nn
from diptych import parity, weights
from diptych.parity import plugin

X = np.linspace(-1, 1, 12).reshape(4, 3)


@pytest.fixture
def linear_pair():
    """A left and a right linear layer of the same weights, but for one bias."""
    left, right = numpy_ref.nn.Linear(3, 2), torch.nn.Linear(3, 2, dtype=torch.float64)
    weights.transfer(left, right)
    with torch.no_grad():
        right.bias[1] += 1e-3
    return left, right


@pytest.mark.parametrize(("in_session", "margin"), [(True, 4), (False, 0)])
def test_an_error_fits_the_terminal_with_what_pytest_puts_before_it(
    linear_pair, in_session, margin, monkeypatch
):
    sessions = plugin._sessions if in_session else []
    monkeypatch.setattr(plugin, "_sessions", sessions)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda fallback: os.terminal_size((90, 24)))
    widths = []
    for method in ("brief", "full"):
        monkeypatch.setattr(
            parity.Report, method, lambda report, width: widths.append(width) or "differs"
        )
    with pytest.raises(AssertionError, match="differs"):
        plugin.assert_parity(*linear_pair, X)
    assert widths == [90 - margin]


class RandomRoot(torch.nn.Module):
    """Noise before a layer, from no module of its own."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2, dtype=torch.float64)

    def forward(self, x):
        return self.linear(x + torch.rand_like(x))


class Root(numpy_ref.nn.Module):
    """The layer alone."""

    def __init__(self):
        self.linear = numpy_ref.nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x)


def test_a_layer_that_only_passes_on_randomness_is_not_blamed():
    left, right = Root(), RandomRoot()
    weights.transfer(left, right)
    report = parity.compare(left, right, X)
    assert not report.ok and "right is not deterministic" in str(report)
    assert "linear" not in report.problem


ROWS = [{"verdict": "fc: output off by 1"}]
CRASH = SimpleNamespace(reprcrash=SimpleNamespace(message="AssertionError: fc: output off by 1\n…"))


@pytest.mark.parametrize(
    ("longrepr", "failed", "rows", "expected"),
    [
        (CRASH, True, ROWS, ROWS[0]),
        (CRASH, False, ROWS, None),  # an expected failure
        (None, True, ROWS, None),
        (None, False, ROWS, None),
        ("skipped", False, ROWS, None),
        (SimpleNamespace(reprcrash=None), True, ROWS, None),
        (CRASH, True, [], None),
        (CRASH, True, [{"verdict": "all agree"}], None),  # it failed for another reason
    ],
)
def test_the_comparison_that_failed_a_test_is_the_one_in_its_message(
    longrepr, failed, rows, expected
):
    report = SimpleNamespace(longrepr=longrepr, failed=failed, parity=rows)
    assert plugin._failing_comparison(report) == expected
