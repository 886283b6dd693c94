"""`Workload`: one operation of one model, as a callable for each implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Runs = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Workload:
    """One size, dtype and operation of a model; `runs` has a callable for each implementation."""

    size: str
    dtype: str
    operation: str
    runs: Runs

    @property
    def name(self) -> str:
        return f"{self.size} {self.dtype} {self.operation}"
