"""The tables of `diptych bench` in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.text import Text

from diptych.bench.crossover import curves
from diptych.display import Table
from diptych.runs.tables.speed import remarks

Row = dict[str, Any]


def show(metrics: Mapping[str, Any], console: Console) -> None:
    """Print the tables of all models, the crossovers, and where the sweeps end."""
    models = dict.fromkeys(row["model"] for row in metrics["speed"])
    for model in models:
        rows = [row for row in metrics["speed"] if row["model"] == model and row["preset"]]
        console.print(preset_table(model, rows, metrics["compared"]))
        for key, backends in curves(metrics["speed"]).items():
            if key[0] == model:
                console.print(sweep_table(key, backends))
        for line in (*remarks(dict(metrics), model), *top_five(metrics["top"], model)):
            console.print(f"  {line}", soft_wrap=True, highlight=False)
        console.print()


def preset_table(model: str, rows: Sequence[Row], compared: Sequence[Row]) -> Table:
    """One row for each operation and backend at the model's own batch size.

    "of limit" is the share of the roofline: the least time that the peak rates of the machine
    allow, divided by the time of the call.
    """
    table = Table(title=f"{model}: median of a call, ± half its interquartile range", box=BOX)
    for heading in ("config", "dtype", "operation", "backend"):
        table.add_column(heading)
    on_device = any(row["device_mib"] is not None for row in rows)
    headings = (
        "ms",
        "÷ torch",
        "a second",
        "of limit",
        "host MiB",
        *["device MiB"] * on_device,
        "error",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    errors = {_key(row): row for row in compared}
    before: tuple[str, ...] = ()
    for row in rows:
        names = (f"{row['config']}, batch {row['batch']}", row["dtype"], row["operation"])
        shown = [name if names[: i + 1] != before[: i + 1] else "" for i, name in enumerate(names)]
        before = names
        table.add_row(
            *shown,
            row["backend"],
            milliseconds(row),
            number(row["ratio"], "{:.2f}"),
            rate(row),
            number(row["roofline"], "{:.0%}"),
            number(row["host_mib"], "{:.0f}"),
            *[number(row["device_mib"], "{:.0f}")] * on_device,
            number(errors.get(_key(row), {}).get("error"), "{:.0e}"),
        )
    return table


def sweep_table(key: tuple[str, str, str], backends: Mapping[str, Mapping[int, Row]]) -> Table:
    """Milliseconds of a step, one row for each batch size and one column for each backend."""
    model, config, dtype = key
    table = Table(title=f"{model} {config}, {dtype}: ms of a step by batch size", box=BOX)
    table.add_column("batch", justify="right")
    for name in backends:
        table.add_column(name, justify="right")
    for batch in sorted({batch for rows in backends.values() for batch in rows}):
        rows = [of.get(batch) for of in backends.values()]
        fastest = min(row["ms"] for row in rows if row)
        cells = [
            Text(milliseconds(row), "bold" if row["ms"] == fastest else "") if row else "–"
            for row in rows
        ]
        table.add_row(str(batch), *cells)
    return table


def top_five(rows: Sequence[Row], model: str) -> Iterator[str]:
    """Where the time of a step goes, one line for each profiled backend of a model."""
    for name, group in grouped_top(rows, model).items():
        shares = (f"{row['share']:.0%} {row['name']}" for row in group)
        yield f"Most of a step ({name}): {'; '.join(shares)}."


def grouped_top(rows: Sequence[Row], model: str) -> dict[str, list[Row]]:
    """The rows of the metric "top" of a model, by configuration, dtype and backend."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["model"] == model:
            name = f"{row['config']}, batch {row['batch']}, {row['dtype']}, {row['backend']}"
            groups.setdefault(name, []).append(row)
    return groups


def milliseconds(row: Row) -> str:
    """The median with half its interquartile range, in milliseconds: three digits of the median."""
    decimals = max(0, 2 - math.floor(math.log10(row["ms"])))
    return f"{row['ms']:.{decimals}f} ± {row['ms_iqr'] / 2:.{decimals}f}"


def rate(row: Row) -> str:
    """Examples or words a second, with a thousands separator; empty for a part."""
    return "" if row["per_second"] is None else f"{row['per_second']:,.0f} {row['unit']}"


def number(value: float | None, form: str) -> str:
    """A number, or nothing for None."""
    return "" if value is None else form.format(value)


BOX = box.SIMPLE_HEAD


def _key(row: Row) -> tuple[Any, ...]:
    """The comparison that a row belongs to: all operations of the whole share that of the step."""
    whole = row["operation"] in ("forward", "gradients", "step")
    operation = "step" if whole else row["operation"]
    fields = ("model", "config", "batch", "dtype", "backend")
    return (*(row[field] for field in fields), operation)
