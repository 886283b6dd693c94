"""What an experiment is given, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from diptych.data import Dataset
from diptych.display import Table


@dataclass(frozen=True)
class Setting:
    """One experiment's circumstances."""

    data: Dataset
    seeds: tuple[int, ...]
    """each gives a model, trained from weights and on batches of its own"""
    quick: bool
    """seconds in the place of minutes: fewer steps and draws, the same code"""
    console: Console | None = None


@dataclass(frozen=True)
class Findings:
    """What came out: numbers, and the same as a table and as a figure."""

    results: Mapping[str, Any]
    """all that the table and the figure show and more, ready for JSON"""
    table: Table
    figure: Figure
    truths: Mapping[str, bool]
    """what theory says, in words, and whether the numbers agree: a lab that never fails proves
    nothing"""


@dataclass(frozen=True)
class Report:
    """Findings, and the files they were written to."""

    name: str
    findings: Findings
    seconds: float
    files: tuple[Path, ...]

    @property
    def ok(self) -> bool:
        return all(self.findings.truths.values())
