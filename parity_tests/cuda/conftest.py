"""A process with a pretended CUDA device, one for each worker of pytest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.pretended_cuda import build
from helpers.pretended_cuda.client import PretendedCuda


@pytest.fixture(scope="session")
def pretended() -> Iterator[PretendedCuda]:
    reason = build.reason_to_skip()
    if reason:
        pytest.skip(reason)
    process = PretendedCuda()
    yield process
    process.close()
