"""The report of a comparison: one verdict, in text, Markdown, JSON and HTML."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from diptych.display import Table
from diptych.parity.reports import report_html, report_json, report_markdown, report_text
from diptych.parity.reports.outcome import Outcome
from diptych.parity.reports.verdict import verdict


@dataclass(frozen=True)
class Report(Outcome):
    """All rows of one comparison.

    `str(report)` is the verdict and the failing rows, as wide as the terminal.
    """

    @property
    def verdict(self) -> str:
        """One line: the tensor that is off, by how much, and how many rows only inherit from it."""
        return verdict(self)

    def summary(self) -> dict[str, Any]:
        """The name of the pair, the verdict and the worst tensor, ready for JSON."""
        return report_json.summary(self)

    def to_json(self) -> str:
        """The whole report as strict JSON: NaN and inf are the strings "nan" and "inf"."""
        return report_json.to_json(self)

    def to_html(self) -> str:
        """The report as one HTML page that needs no other file: the tree of modules, coloured."""
        return report_html.to_html(self)

    def to_markdown(self) -> str:
        """The verdict and the failing rows in Markdown, for a job summary or an issue."""
        return report_markdown.to_markdown(self)

    def full(self, width: int | None = None) -> str:
        """The report as text, with every row."""
        return report_text.render(self, width or _columns(), full=True)

    def brief(self, width: int | None = None) -> str:
        """The report as text: failing rows, and an agreeing row on either side of them."""
        return report_text.render(self, width or _columns())

    def table(self) -> Table:
        """All rows as a table for the terminal."""
        title = f"{self.name}  {self.dtype}  {self.device}"
        return report_text.table(self.rows, title=title)

    def __str__(self) -> str:
        return self.brief()


def _columns() -> int:
    """The width of the terminal; 80 columns if the output is piped."""
    return shutil.get_terminal_size((80, 24)).columns
