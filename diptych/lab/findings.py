"""The input (`Setting`) and the output (`Findings`, `Report`) of an experiment."""

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
    """Data, seeds and size of an experiment."""

    data: Dataset
    seeds: tuple[int, ...]
    """one model is trained for each seed, with weights and batches of its own"""
    quick: bool
    """take fewer steps and samples: seconds instead of minutes, with the same code"""
    console: Console | None = None


@dataclass(frozen=True)
class Findings:
    """The results of an experiment as numbers, a table and a figure, with the claims they test."""

    results: Mapping[str, Any]
    """all numbers of the table and of the figure, as JSON-able values"""
    table: Table
    figure: Figure
    truths: Mapping[str, bool]
    """claims of the theory in words, and whether the numbers agree; each of them can fail"""


@dataclass(frozen=True)
class Report:
    """Findings and the files they were written to."""

    name: str
    findings: Findings
    seconds: float
    files: tuple[Path, ...]

    @property
    def ok(self) -> bool:
        """True if all claims hold."""
        return all(self.findings.truths.values())
