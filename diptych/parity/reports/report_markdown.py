"""Reports in Markdown: for a job summary, or to be pasted into an issue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diptych.parity.measures.rows import PROPAGATED
from diptych.parity.reports.outcome import Outcome
from diptych.parity.reports.report_text import circumstances, options_used, status
from diptych.parity.reports.verdict import element_of, format_number, verdict

MOST_ROWS = 20
"""Failing rows that the table holds."""


def to_markdown(outcome: Outcome) -> str:
    """The verdict, the failing rows as a table, and totals."""
    failures = outcome.failures
    blocks = [f"**{outcome.result.capitalize()}.** {escape(verdict(outcome))}"]
    if failures:
        headings = ("tensor", "kind", "shape", "error", "bound", "worst element", "")
        cells = [
            (
                f"`{row.name}`" if "`" not in row.name else escape(row.name),
                row.kind,
                str(list(row.shape)),
                f"{row.error:.1e}",
                format_number(row.bound),
                element_of(row).removeprefix(" at "),
                status(row),
            )
            for row in failures[:MOST_ROWS]
        ]
        blocks.append(markdown_table(headings, cells))
    if len(failures) > MOST_ROWS:
        blocks.append(f"{len(failures) - MOST_ROWS} more failing rows.")
    propagated = sum(row.origin == PROPAGATED for row in failures)
    totals = f"{len(failures)} of {len(outcome.rows)} rows fail"
    totals += f", {propagated} of them propagated" if propagated else ""
    blocks.append(escape(f"{totals}; {circumstances(outcome).partition(' rows, ')[2]}."))
    if outcome.options:
        blocks.append(f"Options: {escape(options_used(outcome))}")
    if outcome.reproducer:
        blocks.append(f"```\n{outcome.reproducer}\n```")
    if outcome.not_compared:
        blocks.append(escape(f"Not compared: {'; '.join(outcome.not_compared)}"))
    return "\n\n".join(blocks) + "\n"


def session_summary(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """A table of many comparisons, each a summary of a report with its verdict."""
    if not comparisons:
        return "### Parity: nothing was compared\n\n"
    failures = sum(not row["ok"] for row in comparisons)
    verdict = f"{failures} of {len(comparisons)} comparisons diverge{'s' if failures == 1 else ''}"
    if not failures:
        verdict = f"{len(comparisons)} comparison{'s agree' if len(comparisons) > 1 else ' agrees'}"
    cells = [
        (
            "ok" if row["ok"] else "FAIL",
            row["name"],
            f"{row['dtype']} on {row['device']}",
            str(row["tensors"]),
            row["verdict"].removeprefix(f"{row['name']}: "),
        )
        for row in sorted(comparisons, key=lambda row: row["ok"])
    ]
    table = markdown_table(("", "pair", "dtype", "rows", "verdict"), cells)
    return f"### Parity: {verdict}\n\n{table}\n\n"


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. Cells in backquotes are code; in all others no character is markup."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def escape(text: str) -> str:
    """Text in which no character is Markdown or HTML markup."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text)


def _cell(text: str) -> str:
    text = " ".join(text.split())
    is_code = len(text) > 2 and text[0] == text[-1] == "`" and "`" not in text[1:-1]
    return text.replace("|", "\\|") if is_code else escape(text)
