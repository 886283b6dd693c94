"""A pytest plugin that compares a pair of your own.

    def test_my_layer(parity):
        parity(MyNumpyLayer(), my_torch_layer, batch)

pytest loads it wherever diptych is installed, so torch is imported only on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from diptych.parity.report import Report


def assert_parity(
    left: Any, right: Any = None, batch: Any = None, noise: Any = None, **options: Any
) -> Report:
    """Compare a pair with `diptych.parity.compare`, and raise AssertionError if a tensor differs.

    Takes and returns what `compare` does. The first line of the error says where the divergence
    begins; the table of all tensors follows.
    """
    __tracebackhide__ = True
    from diptych.parity.api import compare

    report = compare(left, right, batch, noise, **options)
    if not report.ok:
        raise AssertionError(str(report))
    return report


@pytest.fixture
def parity() -> Any:
    """The function `assert_parity`."""
    return assert_parity
