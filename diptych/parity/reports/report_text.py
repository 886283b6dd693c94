"""Reports as text for a terminal: the verdict, the failing rows, and where to look."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich import box
from rich.text import Text

from diptych.display import GAP, LEAST_PROSE, Console, Table
from diptych.parity.measures.rows import PROPAGATED, Row
from diptych.parity.reports.outcome import Outcome
from diptych.parity.reports.verdict import format_number, verdict

MOST_CAUSES = 8
"""Failing rows, other than propagated ones, that a brief report shows."""
MOST_PROPAGATED = 5
"""Propagated rows that a brief report shows; one more than these is shown too."""


def render(outcome: Outcome, width: int, *, full: bool = False) -> str:
    """The report as text. No name and no number is cut; only tables are broken to the width.

    The verdict, the command and the tensors that were not compared are one line each, so that they
    can be searched for and copied.
    """
    sink = io.StringIO()
    console = Console(file=sink, width=width, color_system=None, legacy_windows=False)
    print(verdict(outcome), file=sink)
    rows, hidden = (outcome.rows, 0) if full else _excerpt(outcome)
    if rows:
        print(file=sink)
        console.print(table(rows, width=width))
    if hidden:
        _sentence(
            console, f"{hidden} failing rows are left out; report.full() and pytest -vv show all"
        )
    if outcome.blamed is not None:
        print(file=sink)
        for line in details(outcome, outcome.blamed):
            print(line, file=sink)
    print(file=sink)
    _sentence(console, circumstances(outcome))
    if outcome.options:
        _sentence(console, f"options: {options_used(outcome)}")
    if outcome.reproducer:
        print(f"reproduce with: {outcome.reproducer}", file=sink)
    if outcome.not_compared:
        print(f"not compared: {'; '.join(outcome.not_compared)}", file=sink)
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines()) + "\n"


def table(rows: Sequence[Row], title: str = "", width: int | None = None) -> Table:
    """Rows as a table for the terminal. Below `width`, shapes and then bounds are left out.

    If that is not enough, the table breaks its rows: a name is never cut.
    """
    columns = {
        "tensor": [row.name for row in rows],
        "kind": [row.kind for row in rows],
        "shape": [str(list(row.shape)) for row in rows],
        "error": [f"{row.error:.1e}" for row in rows],
        "bound": [format_number(row.bound) for row in rows],
        "": [status(row) for row in rows],
    }
    for heading in ("shape", "bound"):
        if width is not None and _width(columns) > width:
            del columns[heading]
    result = Table(title=title or None, box=box.SIMPLE_HEAD if title else None)
    for heading in columns:
        result.add_column(heading, justify="right" if heading in ("error", "bound") else "left")
    for row, cells in zip(rows, zip(*columns.values(), strict=True), strict=True):
        # the brackets of a name and of a shape are no markup
        style = "" if row.ok else "bold red"
        result.add_row(*map(Text, cells[:-1]), Text(cells[-1], style))
    return result


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    """The width of a table without lines, whose last column may be broken at spaces."""
    widths = [max(map(len, [heading, *cells])) for heading, cells in columns.items()]
    return sum(widths[:-1]) + min(widths[-1], LEAST_PROSE) + GAP * (len(widths) - 1)


def status(row: Row) -> str:
    """The last cell of a row: "ok", or "FAIL" with the origin; then its note."""
    words = ["ok" if row.ok else f"FAIL {row.origin}".strip(), row.note]
    return ", ".join(filter(None, [*words, "loosened by hand" if row.loosened else ""]))


def details(outcome: Outcome, row: Row) -> list[str]:
    """The worst element, the statistics and the source lines of one row."""
    sides = ("compared", "reference") if outcome.is_arbitrated else ("left", "right")
    lines = []
    if row.index is not None and row.values is not None:
        place = f"  at {list(row.index)}" if row.index else ""
        lines += [(side, f"{v!r}{place}") for side, v in zip(sides, row.values, strict=True)]
    if row.statistics is not None:
        numbers = row.statistics
        text = f"median {numbers.median:.2g}, 99 % {numbers.p99:.2g}, max {numbers.max:.2g}"
        lines.append(("in ulp", text))
    sources = zip(("left", "right"), outcome.sources_of(row), strict=True)
    lines += [(f"{side} code", source) for side, source in sources if source]
    width = max((len(label) for label, _ in lines), default=0)
    return [f"{row.name}, {row.kind}"] + [f"  {label:<{width}}  {text}" for label, text in lines]


def circumstances(outcome: Outcome) -> str:
    """The number of rows, the dtype, the device, the key and the number of runs."""
    parts = [f"{len(outcome.rows)} rows, {outcome.dtype} on {outcome.device}"]
    if outcome.key:
        parts.append(f"key {outcome.key}")
    if outcome.runs:
        parts.append("runs: " + ", ".join(f"{side} {n}" for side, n in outcome.runs.items() if n))
    return "; ".join(parts)


def options_used(outcome: Outcome) -> str:
    """The options of `compare` that were used, as they are written in Python."""
    return ", ".join(f"{name}={value!r}" for name, value in outcome.options.items())


def _excerpt(outcome: Outcome) -> tuple[list[Row], int]:
    """The failing rows of a brief report between two agreeing ones, and how many it leaves out."""
    failures, blamed = outcome.failures, outcome.blamed
    if blamed is None:
        return [], 0
    propagated = [row for row in failures if row.origin == PROPAGATED]
    others = [row for row in failures if row.origin != PROPAGATED]
    most = MOST_PROPAGATED + (len(propagated) == MOST_PROPAGATED + 1)
    excerpt = [blamed, *others[:MOST_CAUSES], *propagated[:most]]
    first, last = outcome.rows.index(failures[0]), outcome.rows.index(blamed)
    before = [row for row in outcome.rows[:first] if row.ok][-1:]
    after = [row for row in outcome.rows[last:] if row.ok][:1]
    identities = {id(row) for row in [*before, *excerpt, *after]}
    rows = [row for row in outcome.rows if id(row) in identities]
    return rows, len(failures) - sum(not row.ok for row in rows)


def _sentence(console: Console, text: str) -> None:
    """Print a text broken at spaces."""
    console.print(Text(text), no_wrap=False)
