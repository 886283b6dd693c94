"""A pytest plugin: bring a pair of your own.

    def test_my_layer(parity):
        parity(MyNumpyLayer(), my_torch_layer, batch)

It is loaded by pytest wherever diptych is installed; nothing heavy is imported until it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from diptych.parity.report import Report


def assert_parity(
    left: Any, right: Any = None, batch: Any = None, noise: Any = None, **options: Any
) -> Report:
    """`diptych.parity.compare`; where it finds a difference, AssertionError with the whole table.

    Takes and returns what `compare` does.
    """
    __tracebackhide__ = True
    from diptych.parity.api import compare

    report = compare(left, right, batch, noise, **options)
    if not report.ok:
        raise AssertionError(f"the panels diverge\n{report}")
    return report


@pytest.fixture
def parity() -> Any:
    """The function `assert_parity`."""
    return assert_parity
