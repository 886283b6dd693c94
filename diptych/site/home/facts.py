"""The numbers at the top of the index, over all pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from diptych.site.home.rows import Row


@dataclass(frozen=True)
class Fact:
    """A number with its name and a remark."""

    name: str
    value: str
    remark: str
    css: str = ""
    url: str = ""
    """the address of what the number is of"""
    code: str = ""
    """the name of a tensor, which may be long"""


def facts(models: Iterable[Row], rows: Iterable[Row]) -> list[Fact]:
    """The verdict of each dtype over the pairs; lines and aligned statements over all pages."""
    models, rows = list(models), list(rows)
    result = [fact for dtype in ("float64", "float32") for fact in _parity(models, dtype)]
    left, right = (sum(row.lines[side] for row in rows) for side in (0, 1))
    count = Markup('<span class="l">{:,}</span> <span class="r">{:,}</span>').format(left, right)
    result.append(Fact("Lines", count, "left, right"))
    statements = sum(row.page.tally.statements for row in rows)
    aligned = sum(row.page.tally.aligned for row in rows)
    share = 100 * aligned / max(1, statements)
    result.append(
        Fact(
            "Statements with a twin", f"{share:.0f} %", f"{aligned:,} of {statements:,}, vjps apart"
        )
    )
    return result


def failures(rows: Iterable[Row]) -> list[tuple[str, str, str]]:
    """The page, the tensor or verdict, and the reproducing command of whatever diverges."""
    return [
        (row.page.file.stem, sentence, command)
        for row in rows
        for verdict in row.verdicts.values()
        for sentence, command in verdict.failures
    ]


def _parity(models: list[Row], dtype: str) -> list[Fact]:
    measured = [row for row in models if dtype in row.verdicts]
    verdicts = [row.verdicts[dtype] for row in measured]
    if not verdicts:
        return [Fact(f"Parity, {dtype}", "Not measured", "the site was built without a check")]
    agreeing = all(verdict.ok for verdict in verdicts)
    tensors, variants = sum(v.tensors for v in verdicts), sum(v.variants for v in verdicts)
    row = max(measured, key=lambda row: row.verdicts[dtype].error)
    worst = row.verdicts[dtype]
    return [
        Fact(
            f"Parity, {dtype}",
            "Agrees" if agreeing else "Diverges",
            f"{tensors:,} tensors, {variants} variant{'s' * (variants > 1)}",
            "ok" if agreeing else "bad",
        ),
        Fact(
            f"Worst error, {dtype}",
            worst.text,
            worst.variant,
            "" if agreeing else "bad",
            row.measured_url(dtype),
            worst.tensor,
        ),
    ]
