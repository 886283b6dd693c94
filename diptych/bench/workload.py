"""What is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Runs = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Workload:
    """One model, size, dtype and piece of work, as a callable for each way to run it."""

    size: str
    dtype: str
    work: str
    runs: Runs

    @property
    def name(self) -> str:
        return f"{self.size} {self.dtype} {self.work}"
