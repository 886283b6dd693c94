"""The command `python -m diptych.bench.scaling`."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diptych.bench.scaling.figures import figure
from diptych.bench.scaling.ranks import RankRow, run_ranks
from diptych.bench.scaling.running import Row, run
from diptych.bench.scaling.sweeps import SWEEPS
from diptych.display import Console, Table
from diptych.figures.style import check_name, save
from diptych.names import MODELS
from diptych.runs import results
from diptych.runs.environment import command_line


def metrics(rows: list[Row], ranks: list[RankRow], threads: int) -> dict[str, Any]:
    """The metrics of a record: lists of dicts with the fields of Row and RankRow."""
    sweeps = [asdict(row) | {"fit": row.fit._asdict()} for row in rows]
    return {"threads": threads, "scaling": sweeps, "ranks": [asdict(row) for row in ranks]}


def print_tables(console: Console, rows: list[Row], ranks: list[RankRow]) -> None:
    """Print the exponents, and the speed-up of several ranks."""
    headings = ("model", "grows", "backend", "dtype", "exponent", "r²", "exponent of FLOPs")
    table = Table(*headings, title="time = c x^k")
    for row in rows:
        flops = "" if row.flops_exponent is None else f"{row.flops_exponent:.2f}"
        exponent = f"{row.fit.exponent:.2f} ± {row.fit.standard_error:.2f}"
        cells = (row.model, row.axis, row.backend, row.dtype, exponent, f"{row.fit.r2:.3f}", flops)
        table.add_row(*cells)
    console.print(table)
    if ranks:
        table = Table("model", "batch", "ranks", "threads of each", "ms a step", "speed-up")
        for rank in ranks:
            sizes = map(str, (rank.model, rank.batch, rank.ranks, rank.threads))
            table.add_row(*sizes, f"{rank.ms:.2f}", f"{rank.speedup:.2f}")
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m diptych.bench.scaling", description=__doc__)
    parser.add_argument("models", nargs="*", help="models to time; by default all")
    parser.add_argument("--json", type=Path, help="write the measurement to this file")
    parser.add_argument("--figure", type=Path, help="draw the sweeps to this PNG file")
    parser.add_argument("--quick", action="store_true", help="three values a sweep")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument("--dtype", action="append", help="float32 or float64; may be repeated")
    parser.add_argument("--no-ranks", action="store_true", help="no data-parallel training")
    options = parser.parse_args()
    for model in options.models:
        if model not in MODELS:
            parser.error(f"models: got {model!r}, takes {', '.join(MODELS)}")
    if options.figure:
        check_name(options.figure)
    console, start = Console(), time.perf_counter()
    dtypes = options.dtype or ["float32"]
    sweeps = [s for s in SWEEPS if not options.models or s.model in options.models]
    with console.status("timing") as status:
        rows = run(
            sweeps,
            dtypes=dtypes,
            threads=options.threads,
            quick=options.quick,
            progress=lambda text, done, total: status.update(f"{done} of {total}: {text}"),
        )
        ranks = [] if options.no_ranks else run_ranks(quick=options.quick, progress=status.update)
    print_tables(console, rows, ranks)
    if options.figure:
        save(figure(rows), options.figure)
    if options.json:
        results.write(
            options.json,
            name=options.json.stem,
            command=command_line(),
            seed=0,
            data="random batches",
            device="cpu",
            time_s=time.perf_counter() - start,
            metrics=metrics(rows, ranks, options.threads),
        )


if __name__ == "__main__":
    main()
