"""Table of docs/speed.md: the growth of a step's time with each size, and the speed-up of ranks."""

from __future__ import annotations

from diptych.runs.tables.markdown import Record, table


def growth(records: list[Record]) -> str:
    """The exponents of the sweeps, and the speed-up of several ranks."""
    return "\n\n".join(_one_growth(record["metrics"]) for record in records)


def _one_growth(metrics: Record) -> str:
    sweeps: dict[tuple[str, str, str], list[Record]] = {}
    for row in metrics["scaling"]:
        sweeps.setdefault((row["model"], row["axis"], row["dtype"]), []).append(row)
    rows = []
    for (model, axis, dtype), group in sweeps.items():
        values = group[0]["values"]
        exponents = {row["backend"]: _exponent(row) for row in group}
        flops = group[0]["flops_exponent"]
        rows.append(
            (
                f"{model}, {axis} {values[0]} to {values[-1]}",
                dtype,
                *(exponents.get(backend, "–") for backend in ("numpy", "torch")),
                "–" if flops is None else f"{flops:.2f}",
            )
        )
    heads = ("what grows", "dtype", "numpy", "torch", "FLOPs")
    blocks = [f"## Scaling\n\nExponents, with {metrics['threads']} threads.", table(heads, rows)]
    if metrics["ranks"]:
        heads = ("data-parallel step", "ranks", "threads of each", "ms", "speed-up")
        ranks = [
            (
                f"{row['model']}, batch {row['batch']}, {row['dtype']}",
                str(row["ranks"]),
                str(row["threads"]),
                f"{row['ms']:.3g}",
                f"{row['speedup']:.2f}",
            )
            for row in metrics["ranks"]
        ]
        blocks.append(table(heads, ranks))
    return "\n\n".join(blocks)


def _exponent(row: Record) -> str:
    fit = row["fit"]
    return f"{fit['exponent']:.2f} ± {fit['standard_error']:.2f} (r² {fit['r2']:.3f})"
