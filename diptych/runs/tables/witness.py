"""Tables of docs/witness.md: the vjps in 50 digits, and float64 against them."""

from __future__ import annotations

from diptych.runs.tables.markdown import Record, table

PARTS = ("left_values", "left_gradients", "right_values", "right_gradients")
LIMITS = {"function": 64.0, "layer": 64.0, "model": 450.0}
"""A point with a larger error of the norm, in ulp, is listed by itself."""
LOST = 1e6
"""A point with a larger error of one element, in ulp, is listed as well: six digits."""


def witness(records: list[Record]) -> str:
    """The tables of each record: by file, and of the points at which digits are lost."""
    return "\n\n".join(_tables(record["metrics"]) for record in records)


def _tables(metrics: Record) -> str:
    proofs = metrics["proofs"]
    groups: dict[str, list[Record]] = {}
    for row in proofs.values():
        file = row["function"].rpartition(".")[0].replace(".", "/")
        name = f"`{file}.py`" if row["kind"] == "function" else f"{row['kind']}s"
        groups.setdefault(name, []).append(row)
    names = {row["function"] for row in proofs.values() if row["kind"] == "function"}
    count = sum(row["gradients"] for row in proofs.values())
    heads = ("where", "functions", "points", "error of the vjp", "left, ulp", "right, ulp")
    return (
        f"{metrics['returning_vjps']} functions and methods return a vjp; {len(names)} are pure "
        f"functions. {len(proofs)} points have {count:,} derivatives.\nThe largest relative error "
        f"of a vjp is {max(row['vjp'] for row in proofs.values()):.0e}.\n\n"
        f"{table(heads, [_row(name, rows) for name, rows in groups.items()])}\n\n"
        "Points at which digits are lost, in ulp of the norm / of the worst element:\n\n"
        f"{_lost(proofs)}"
    )


def _row(name: str, rows: list[Record]) -> tuple[str, ...]:
    functions = {row["function"] for row in rows if row["kind"] == "function"}
    ordinary = [row for row in rows if _is_ordinary(row)]
    left, right = (
        ", ".join(f"{max(row[part]['normwise'] for row in ordinary):.1f}" for part in parts)
        for parts in (PARTS[:2], PARTS[2:])
    )
    worst = f"{max(row['vjp'] for row in rows):.0e}"
    return name, str(len(functions) or "–"), str(len(rows)), worst, left, right


def _lost(proofs: Record) -> str:
    heads = ("point", "left value", "left gradient", "right value", "right gradient")
    lines = [
        (name, *(f"{_ulp(row[p]['normwise'])} / {_ulp(row[p]['worst'])}" for p in PARTS))
        for name, row in proofs.items()
        if not _is_ordinary(row) or (row["kind"] != "model" and _loses_an_element(row))
    ]
    return table(heads, lines)


def _is_ordinary(row: Record) -> bool:
    return all(row[part]["normwise"] <= LIMITS[row["kind"]] for part in PARTS)


def _loses_an_element(row: Record) -> bool:
    return any(row[part]["worst"] > LOST for part in PARTS)


def _ulp(error: float) -> str:
    return f"{error:.1f}" if error < 100 else f"{error:.0e}"
