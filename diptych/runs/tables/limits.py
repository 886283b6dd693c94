"""Tables of docs/speed.md: the distance to the machine's limit, and the growth with each size."""

from __future__ import annotations

from diptych.runs.tables.markdown import CELL, Record, table

TOP = 5
"""Parts that are shown of each step."""
BOUNDS = {"flops": "products", "bytes": "memory"}
"""What sets the limit, by its name in the record."""


def distances(records: list[Record]) -> str:
    """Peak rates, the share of the roofline of each training step, and what takes its time."""
    parts = [_one_distance(record["metrics"]) for record in records]
    return "\n\n".join(parts)


def _one_distance(metrics: Record) -> str:
    peaks = [
        (p["dtype"], p["backend"], f"{p['flops'] / 1e9:.0f}", f"{p['bytes'] / 1e9:.1f}")
        for p in metrics["peaks"]
    ]
    rates = table(("dtype", "library", "GFLOP/s of a product", "GB/s of a copy"), peaks)
    steps: dict[tuple[str, str], list[Record]] = {}
    for row in metrics["roofline"]:
        name = f"{row['model']} {row['config']}, batch {row['batch']}"
        steps.setdefault((name, row["dtype"]), []).append(row)
    rows = []
    for (name, dtype), group in steps.items():
        limit = f"{group[0]['limit_ms']:.3g}, {BOUNDS[group[0]['bound']]}"
        shares = {row["backend"]: f"{row['ms']:.3g}, {_percent(row)}" for row in group}
        rows.append((name, dtype, limit, *(shares.get(b, "–") for b in ("numpy", "torch"))))
    heads = ("training step", "dtype", "limit, ms, by", "numpy, ms, share", "torch, ms, share")
    blocks = (
        f"## Distance to the limit\n\nPeak rates with {metrics['threads']} threads.",
        rates,
        table(heads, rows),
        _profiles(metrics["profiles"]),
    )
    return "\n\n".join(blocks)


def _percent(row: Record) -> str:
    return f"{100 * row['fraction']:.0f} %"


def _profiles(profiles: list[Record]) -> str:
    """The largest parts of each step with their shares; the record has files and lines."""
    rows = []
    for profile in profiles:
        name = f"{profile['model']} {profile['config']}, {profile['dtype']}, {profile['backend']}"
        parts = [f"{_short(part['name'])} {100 * part['share']:.0f} %" for part in profile["top"]]
        rows.append((name, *parts, *[""] * (TOP - len(parts)), f"{profile['overhead']:.1f}"))
    heads = ("training step", *(f"part {i + 1}" for i in range(TOP)), "× by the profiler")
    return table(heads, rows)


def _short(name: str) -> str:
    """A name without the file or the operation in brackets behind it."""
    return name.partition(" (")[0][: CELL - 6]


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
