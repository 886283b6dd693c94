"""Tables of measured times, in Markdown: for each benchmark and model, a step and its sweep."""

from __future__ import annotations

from itertools import groupby

from diptych.runs.tables.markdown import CELL, Record, Row, commands, table

TOP = 5
"""Parts that are shown of each step."""


def speed(record: Record) -> str:
    """The conditions of a benchmark, the tables of every model, and the command."""
    m = record["metrics"]
    device = "" if m["device"] == "cpu" else f", {record['device']}"
    how = " in the quick form" if m["quick"] else ""
    peaks = "; ".join(
        f"{peak['device']} in {peak['dtype']} {peak['flops'] / 1e9:,.0f} GFLOP and "
        f"{peak['bytes'] / 1e9:,.0f} GB a second"
        for peak in m["peaks"]
    )
    parts = [
        f"## {record['machine']}{device}, {m['threads']} threads",
        "Median milliseconds of a call ± half the interquartile range, with the ratio to eager "
        f"torch on the CPU and the share of the roofline; measured{how} in {record['time_s']:.0f} "
        f"s.\nPeak rates: {peaks}.",
    ]
    for model in dict.fromkeys(row["model"] for row in m["speed"]):
        parts.append(_model(m, model))
    return "\n\n".join([*parts, commands([("", [record["command"]])])])


def step_ratios(records: list[Record]) -> dict[str, dict[str, str]]:
    """NumPy's time for a training step relative to eager torch's, by model and dtype.

    One number for each configuration at its own batch size, from the benchmark of the CPU.
    """
    result: dict[str, dict[str, list[str]]] = {}
    for record in records:
        if record["metrics"]["device"] != "cpu":
            continue
        for row in record["metrics"]["speed"]:
            is_step = row["operation"] == "step" and row["preset"]
            if is_step and row["backend"] == "numpy" and row["ratio"] is not None:
                ratios = result.setdefault(row["model"], {}).setdefault(row["dtype"], [])
                ratios.append(f"{row['ratio']:.2f}")
    return {
        model: {dtype: ", ".join(ratios) for dtype, ratios in dtypes.items()}
        for model, dtypes in result.items()
    }


def _model(metrics: Record, model: str) -> str:
    rows = [row for row in metrics["speed"] if row["model"] == model]
    parts = [f"### {model}"]
    for (config, batch), group in groupby(
        [row for row in rows if row["preset"]], key=lambda row: (row["config"], row["batch"])
    ):
        parts.append(f"**{config}, batch {batch}**\n\n{_preset(list(group))}")
    sweeps = [row for row in rows if row["operation"] == "step"]
    for (config, dtype), group in groupby(sweeps, key=lambda row: (row["config"], row["dtype"])):
        swept = list(group)
        if len({row["batch"] for row in swept}) > 1:
            parts.append(f"**{config}, {dtype}: ms of a step by batch size**\n\n{_sweep(swept)}")
    if top := [row for row in metrics["top"] if row["model"] == model]:
        parts.append(f"**What takes the time of a step**\n\n{_top(top)}")
    parts += [f"- {line}" for line in remarks(metrics, model)]
    text = "\n\n".join(parts)
    return text.replace("\n\n- ", "\n- ").replace("|\n- ", "|\n\n- ")


def _preset(rows: list[Record]) -> str:
    """One row for each operation and dtype, one column for each backend."""
    columns = list(dict.fromkeys(row["backend"] for row in rows))
    lines: list[Row] = []
    for operation, dtype in dict.fromkeys((row["operation"], row["dtype"]) for row in rows):
        cells = {
            row["backend"]: _cell(row)
            for row in rows
            if (row["operation"], row["dtype"]) == (operation, dtype)
        }
        lines.append((operation, dtype, *(cells.get(name, "") for name in columns)))
    return table(("work", "dtype", *columns), lines)


def _sweep(rows: list[Record]) -> str:
    columns = list(dict.fromkeys(row["backend"] for row in rows))
    lines: list[Row] = []
    for batch in sorted({row["batch"] for row in rows}):
        cells = {row["backend"]: f"{row['ms']:.3g}" for row in rows if row["batch"] == batch}
        lines.append((str(batch), *(cells.get(name, "–") for name in columns)))
    return table(("batch", *columns), lines)


def _top(rows: list[Record]) -> str:
    """The largest parts of each step with their shares; the record has their files and lines."""
    lines: list[Row] = []
    for name, group in groupby(rows, key=lambda row: (row["config"], row["dtype"], row["backend"])):
        parts = [f"{_short(row['name'])} {100 * row['share']:.0f} %" for row in group][:TOP]
        lines.append((", ".join(name), *parts, *[""] * (TOP - len(parts))))
    return table(("step", *(str(place + 1) for place in range(TOP))), lines)


def _short(name: str) -> str:
    """A name without the file or the operation in brackets behind it."""
    return name.partition(" (")[0][: CELL - 6]


def _cell(row: Record) -> str:
    ratio = "" if row["ratio"] is None else f" ({row['ratio']:.2f})"
    share = "" if row["roofline"] is None else f", {100 * row['roofline']:.0f} %"
    return f"{row['ms']:.3g} ± {row['ms_iqr'] / 2:.1g}{ratio}{share}"


def remarks(metrics: Record, model: str) -> list[str]:
    """The crossovers of a model in words, and where its sweeps were cut."""
    own = [row for row in metrics["crossovers"] if row["model"] == model]
    lines = [f"{row['dtype']}: {row['text']}." for row in own]
    key = lambda row: (row["dtype"], row["backend"], row["reason"])  # noqa: E731
    cut = sorted((row for row in metrics["cut"] if row["model"] == model), key=key)
    for (dtype, backend, reason), group in groupby(cut, key=key):
        batches = [row["batch"] for row in group]
        which = f"{min(batches)} and above" if len(batches) > 1 else str(batches[0])
        lines.append(f"{dtype}: {backend} was not timed at batch {which}: {reason}.")
    return lines
