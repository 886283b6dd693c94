"""`diptych check`: compare registered pairs, and report to the terminal and as JSON."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.text import Text

from diptych import pairs
from diptych.display import Table
from diptych.files import write_json
from diptych.parity import streams
from diptych.parity.api import compare
from diptych.parity.registered import reproduce
from diptych.parity.reports.report import Report
from numpy_ref.nn.module import as_dtype
from torch_impl.nn.module import as_device


def check_pairs(
    models: list[str] | None,
    dtype: str,
    device: str,
    console: Console,
    json_file: Path | None = None,
    *,
    verbose: bool = False,
) -> list[Report]:
    """Compare every variant of `models`, by default of all pairs, and print one line for each.

    The table of a pair is printed as soon as its variants are compared.

    The name "random" stands for the random streams, which are compared like a pair.

    {"pairs": [summary, ...]} is written to `json_file` (see Report.summary), also if a pair
    diverges. A pair that raises fails, with the reason as "problem", and the others go on.
    Raises: ValueError for an unknown pair, dtype or device, before any pair is run.
    """
    as_dtype(dtype)
    as_device(device)
    names = [name for model in models or [streams.NAME, *pairs.PAIRS] for name in _expand(model)]
    reports: list[Report] = []
    for model, variants in itertools.groupby(names, key=lambda name: name.partition("[")[0]):
        with console.status("comparing") as status:
            group = []
            for name in variants:
                status.update(Text(f"comparing {name}"))
                group.append(check_pair(name, dtype, device))
        console.print(_table(f"{model}, {dtype} on {device}", group))
        reports += group
    _print_reports(reports, console, verbose=verbose)
    if json_file is not None:
        write_json(json_file, {"pairs": [_summary(report) for report in reports]}, allow_nan=False)
    return reports


def _table(title: str, reports: list[Report]) -> Table:
    """The verdicts of one pair's variants."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for heading in ("pair", "tensors", "verdict", "masks", "worst error", "in tensor"):
        table.add_column(
            heading, justify="right" if heading in ("tensors", "worst error") else "left"
        )
    for report in reports:
        table.add_row(*_line(report))
    return table


def check_pair(name: str, dtype: str, device: str) -> Report:
    """Compare one pair; an exception, such as that of a layer, is the problem of its report."""
    try:
        if name == streams.NAME:
            return streams.compare_streams(dtype, device)
        return compare(name, dtype=dtype, device=device)
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        reproducer = reproduce(name, dtype, device)
        return Report(name, dtype, device, (), problem=f"{kind}{error}", reproducer=reproducer)


def _summary(report: Report) -> dict[str, Any]:
    """The summary of a report for JSON, with its problem if it has one."""
    return report.summary() | ({"problem": report.problem} if report.problem else {})


def _print_reports(reports: list[Report], console: Console, *, verbose: bool) -> None:
    """Print the full reports if verbose; else the first failing one, and the other verdicts."""
    failures = [report for report in reports if not report.ok]
    for report in reports if verbose else failures[:1]:
        text = report.full(console.width) if verbose else report.brief(console.width)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for report in [] if verbose else failures[1:]:
        console.print(report.verdict, markup=False, highlight=False, soft_wrap=True)
        if report.reproducer:
            reproducer = f"  reproduce with: {report.reproducer}"  # in one line, to be pasted
            console.print(reproducer, markup=False, highlight=False, soft_wrap=True)


def _expand(model: str) -> list[str]:
    """Return the names of all variants of a pair, or the name of a variant unchanged."""
    if "[" not in model:
        pairs.lookup("model", model, {streams.NAME: None, **pairs.PAIRS})
    return [model] if model == streams.NAME else pairs.names([model])


def _line(report: Report) -> tuple[str | Text, ...]:
    """Return the cells of one report in the table."""
    masks = {None: "none", True: "equal", False: "DIFFER"}[report.masks_equal]
    worst = report.worst if report.rows else None
    return (
        report.name,
        str(len(report.rows)),
        Text("agrees", "green") if report.ok else Text(report.result.upper(), "bold red"),
        masks,
        f"{worst.error:.1e}" if worst else "",
        worst.name if worst else "",
    )
