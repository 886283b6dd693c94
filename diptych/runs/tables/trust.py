"""Tables of docs/trust.md: damaged run folders, kills, and changed inputs of every reader."""

from __future__ import annotations

from diptych.runs.tables.markdown import Record, table

GOOD = ("accepted", "refused")
"""The outcomes that a reader promises for a changed input."""


def injected(records: list[Record]) -> str:
    """The table of injected faults: what was done, how often, and what came."""
    rows: list[tuple[str, ...]] = []
    for metrics in (record["metrics"] for record in records):
        flips, cuts = metrics["bit_flips"], metrics["cut_metrics"]
        rows.append(
            (
                "one bit of one file of a run is flipped, then `evaluate` and `train --resume`",
                str(flips["flips"]),
                _outcomes(flips["outcomes"]),
            )
        )
        rows.append(
            ("metrics.jsonl is cut before a resume", str(cuts["cuts"]), _outcomes(cuts["outcomes"]))
        )
        for name in ("start", "resume"):
            part = metrics[f"concurrent_{name}s"]
            count = part["writers"].get("1", 0)
            text = f"exactly one trained: {count}"
            rows.append((f"two processes {name} one run at once", str(part["times"]), text))
        kills = metrics["kills"]
        text = f"{kills['equal_runs']} of {kills['runs']} trainings equal to one without kills"
        rows.append(("SIGKILL at a random moment, then `--resume`", str(kills["kills"]), text))
    return table(("what was done", "times", "what came"), rows) if rows else ""


def fuzzed(records: list[Record]) -> str:
    """The table of changed inputs, by reader."""
    rows = []
    for metrics in (record["metrics"] for record in records):
        for name, result in metrics["fuzz"].items():
            counts = result["counts"]
            other = sum(number for kind, number in counts.items() if kind not in GOOD)
            rows.append(
                (
                    f"`{name}`",
                    str(sum(counts.values())),
                    *(str(counts.get(kind, 0)) for kind in GOOD),
                    str(other),
                    f"{1000 * result['slowest_s']:.0f}",
                    f"{result['memory_growth'] / 2**20:.0f}",
                )
            )
    heads = ("reader", "inputs", "accepted", "refused", "anything else", "slowest, ms", "MiB")
    return table(heads, rows) if rows else ""


def _outcomes(counts: Record) -> str:
    return ", ".join(f"{kind}: {number}" for kind, number in sorted(counts.items()))
