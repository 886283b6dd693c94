"""A plugin of pytest with which the tests for a GPU run on the pretended device.

    PYTHONPATH=parity_tests python -m pytest -p helpers.pretended_cuda.plugin PATHS -k cuda

pytest imports it before any conftest.py, and thereby before torch.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.pretended_cuda.load import activate

CUDA = activate()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Run the setup, the call and the teardown of a test on the device."""
    with CUDA():
        return (yield)
