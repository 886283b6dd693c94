"""Tables of docs/witness.md: the vjps in 50 digits, and float64 against them."""

from __future__ import annotations

from diptych.runs.tables.markdown import Record, commands, table

PARTS = ("left_values", "left_gradients", "right_values", "right_gradients")
ULP = "{:.1f}"
CONDITIONED = 64
"""Beyond this normwise error, in ulp, a point is listed by itself."""
LOST = 1e6
"""Beyond this error of one element, in ulp, a point is listed by itself: six digits."""


def witness(records: list[Record]) -> str:
    """The tables of one record: each function, layers and models, and the points of large error."""
    return "\n\n".join(_of_record(record) for record in records)


def _of_record(record: Record) -> str:
    metrics = record["metrics"]
    proofs = {name: row for name, row in metrics["proofs"].items() if _is_ordinary(row)}
    functions = {row["function"]: [] for row in proofs.values() if row["kind"] == "function"}
    for row in proofs.values():
        if row["kind"] == "function":
            functions[row["function"]].append(row)
    groups = {f"`{name}`": rows for name, rows in functions.items()}
    for kind in ("layer", "model"):
        rows = [row for row in proofs.values() if row["kind"] == kind]
        groups[f"all {kind}s"] = rows
    heads = ("function", "points", "error of the vjp", "left", "right")
    lines = [
        (name, str(len(rows)), f"{_worst(rows, 'vjp'):.0e}", _pair(rows, 0), _pair(rows, 2))
        for name, rows in groups.items()
    ]
    worst = max(row["vjp"] for row in metrics["proofs"].values())
    count = sum(row["gradients"] for row in metrics["proofs"].values())
    text = (
        f"{len(functions)} pure functions, all that have a vjp, and {len(metrics['proofs'])} points "
        f"with {count:,} gradients in all: the largest relative error of a vjp is {worst:.0e}."
    )
    return "\n\n".join(
        [text, table(heads, lines), _lost(record), commands([("", [record["command"]])])]
    )


def _lost(record: Record) -> str:
    """The points where single elements lose their digits, or the norm does."""
    heads = ("point", "left value", "left gradient", "right value", "right gradient")
    lines = [
        (name, *(_ulps(row[part]) for part in PARTS))
        for name, row in record["metrics"]["proofs"].items()
        if row["kind"] != "model" and (not _is_ordinary(row) or _loses(row))
    ]
    return f"Points at which digits are lost, in ulp of the norm / of the worst element:\n\n{table(heads, lines)}"


def _is_ordinary(row: Record) -> bool:
    return all(row[part]["normwise"] <= CONDITIONED for part in PARTS)


def _loses(row: Record) -> bool:
    return any(row[part]["worst"] > LOST for part in PARTS)


def _worst(rows: list[Record], name: str) -> float:
    return max(row[name] for row in rows)


def _pair(rows: list[Record], first: int) -> str:
    """The worst normwise errors of the values and of the gradients of one panel."""
    worst = (max(row[part]["normwise"] for row in rows) for part in PARTS[first : first + 2])
    return ", ".join(map(ULP.format, worst))


def _ulps(errors: Record) -> str:
    return " / ".join(ULP.format(v) if v < 1e4 else f"{v:.0e}" for v in errors.values())
