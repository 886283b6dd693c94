"""Tables of measured times, in Markdown: one table for each model and size."""

from __future__ import annotations

import re

from diptych.runs.tables.markdown import Record, commands, table

_WORKLOAD = re.compile(r"(.+) (float64|float32) (.+)")
"""The name of a workload: its size, its dtype, and which part of the model is timed."""


def speed(record: Record) -> str:
    """A sentence about a benchmark's conditions, a table for each size, and the command."""
    m = record["metrics"]
    base = m.get("base", "eager torch on the CPU")
    parts = [
        f"## {_model(record)}",
        f"Median milliseconds (ratio to {base}) of {m['rounds']} "
        f"interleaved rounds, {m['threads']} threads, {record['machine']}, {record['device']}.",
    ]
    sizes: dict[str, list[tuple[str, str, Record]]] = {}
    for size, dtype, work, load in _workloads(record):
        sizes.setdefault(size, []).append((work, dtype, load))
    for size, loads in sizes.items():
        columns = list(dict.fromkeys(name for *_, load in loads for name in load))
        rows = [
            (work, dtype, *(_cell(load.get(c)) for c in columns)) for work, dtype, load in loads
        ]
        parts.append(f"**{size}**\n\n{table(('work', 'dtype', *columns), rows)}")
    return "\n\n".join([*parts, commands([("", [record["command"]])])])


def step_ratios(records: list[Record]) -> dict[str, dict[str, str]]:
    """NumPy's time for a training step relative to PyTorch's, by model and dtype; one a size."""
    result: dict[str, dict[str, list[str]]] = {}
    for record in records:
        for _, dtype, work, load in _workloads(record):
            if work == "step":
                ratio = f"{load['numpy']['ratio']:.2f}"
                result.setdefault(_model(record), {}).setdefault(dtype, []).append(ratio)
    return {
        model: {dtype: ", ".join(ratios) for dtype, ratios in dtypes.items()}
        for model, dtypes in result.items()
    }


def _model(record: Record) -> str:
    return record["name"].removesuffix("_speed")


def _workloads(record: Record) -> list[tuple[str, str, str, Record]]:
    """Return size, dtype, timed part and timings of each workload of a benchmark."""
    result = []
    for name, load in record["metrics"].items():
        if isinstance(load, dict) and (match := _WORKLOAD.fullmatch(name)):
            size, dtype, work = match.groups()
            result.append((size, dtype, work, load))
    return result


def _cell(timing: dict[str, float] | None) -> str:
    if timing is None:
        return ""
    peak = f", {timing['peak_mib']:.0f} MiB" if "peak_mib" in timing else ""
    naive = f", {timing['times_naive']:.0f} × naive" if "times_naive" in timing else ""
    return f"{timing['ms']:.3g} ({timing['ratio']:.2f}){peak}{naive}"
