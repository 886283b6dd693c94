"""Every model's distance to the limit of the machine, and what takes its time.

    python -m diptych.bench.limits [MODEL...] [--json FILE] [--add] [--threads N] [--quick]

For each benchmarked size, backend and dtype it times a training step, divides the least time of the
roofline by it, and profiles it. The peak rates are the larger ones of NumPy's and torch's libraries
with the same number of threads, so that the fractions of both refer to one limit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych import pairs
from diptych.bench import clock, costs, roofline
from diptych.bench.case import configuration
from diptych.bench.peaks import Peak, best
from diptych.bench.protocol import WorkerProcess
from diptych.display import Table
from diptych.names import MODELS
from diptych.runs import results
from diptych.runs.environment import command_line

BACKENDS, DTYPES = ("numpy", "torch"), ("float64", "float32")
OPERATION = "step"
TURNS, QUICK_TURNS = 5, 3
Row = dict[str, Any]
Progress = Callable[[str], None]


def measure(
    models: Sequence[str] = tuple(MODELS),
    *,
    threads: int,
    dtypes: Sequence[str] = DTYPES,
    quick: bool = False,
    progress: Progress = lambda text: None,
) -> dict[str, list[Row]]:
    """Peaks, fractions of the roofline, and profiles, as lists of rows.

    Raises: WorkerError with the reason of a process that failed.
    """
    workers = {backend: WorkerProcess(threads) for backend in BACKENDS}
    with closing(workers["numpy"]), closing(workers["torch"]):
        peaks: dict[str, Peak] = {}
        result: dict[str, list[Row]] = {"peaks": [], "roofline": [], "profiles": []}
        for dtype in dtypes:
            progress(f"peak rates, {dtype}")
            rates = {
                name: Peak(**worker.ask(do="peak", backend=name, dtype=dtype, quick=quick))
                for name, worker in workers.items()
            }
            peaks[dtype] = best(rates.values())
            for name, peak in rates.items():
                result["peaks"].append({"backend": name, "dtype": dtype} | vars(peak))
        for model in models:
            for size, (_, batch) in pairs.get(model).sizes.items():
                for dtype in dtypes:
                    progress(f"{model}, {size}, {dtype}")
                    case = [model, size, batch, dtype]
                    rows, profiles = _case(workers, case, peaks[dtype], quick)
                    result["roofline"] += rows
                    result["profiles"] += profiles
    return result


def _case(
    workers: dict[str, WorkerProcess], case: list[Any], peak: Peak, quick: bool
) -> tuple[list[Row], list[Row]]:
    """The rows of one size and dtype: a fraction and a profile for each backend."""
    model, size, batch, dtype = case
    pair = pairs.get(model)
    cost = costs.cost(pair, pair.sizes[size][0], batch, dtype, OPERATION)
    for name, worker in workers.items():
        worker.ask(do="build", case=case, backend=name)
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(QUICK_TURNS if quick else TURNS):
        for name, worker in workers.items():
            seconds[name].append(worker.ask(do="time", operation=OPERATION)["seconds"])
    key = {"model": model, "config": configuration(size), "batch": batch, "dtype": dtype}
    rows, profiles = [], []
    for name, worker in workers.items():
        median = sorted(seconds[name])[len(seconds[name]) // 2]
        limit = roofline.limit(cost, peak)
        row = key | {"operation": OPERATION, "backend": name, "ms": 1e3 * median}
        row |= {"limit_ms": 1e3 * limit.seconds, "bound": limit.bound}
        row["fraction"] = roofline.fraction(cost, peak, median)
        rows.append(row | vars(cost))
        profile = worker.ask(do="profile", operation=OPERATION)
        profiles.append(key | {"backend": name, "overhead": profile["overhead"]})
        profiles[-1]["top"] = profile["rows"]
    return rows, profiles


def merged(old: dict[str, list[Row]], new: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows of both, in the order of the models; new ones replace those of the same model."""
    result = {"peaks": new["peaks"]}
    for name in ("roofline", "profiles"):
        replaced = {row["model"] for row in new[name]}
        rows = [row for row in old[name] if row["model"] not in replaced] + new[name]
        result[name] = sorted(rows, key=lambda row: list(MODELS).index(row["model"]))
    return result


def print_tables(console: Console, metrics: dict[str, list[Row]]) -> None:
    """Print the fractions, and the lists of what takes the time."""
    table = Table("model", "dtype", "backend", "ms", "limit, ms", "by", "share of the limit")
    for row in metrics["roofline"]:
        cells = (f"{row['model']} {row['config']}", row["dtype"], row["backend"])
        numbers = (f"{row['ms']:.3g}", f"{row['limit_ms']:.3g}", row["bound"])
        table.add_row(*cells, *numbers, f"{100 * row['fraction']:.1f} %")
    console.print(table)
    for row in metrics["profiles"]:
        console.print(f"{row['model']} {row['config']}, {row['dtype']}, {row['backend']}")
        for part in row["top"]:
            console.print(f"  {100 * part['share']:5.1f} %  {part['name']}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m diptych.bench.limits", description=__doc__)
    parser.add_argument("models", nargs="*", help="models to time; by default all")
    parser.add_argument("--json", type=Path, help="write the measurement to this file")
    parser.add_argument("--add", action="store_true", help="keep the file's rows of other models")
    parser.add_argument("--threads", type=int, default=clock.cores(), help="threads of a process")
    parser.add_argument("--quick", action="store_true", help="fewer turns and smaller products")
    options = parser.parse_args()
    for model in options.models:
        if model not in MODELS:
            parser.error(f"models: got {model!r}, takes {', '.join(MODELS)}")
    console, start, models = Console(), time.perf_counter(), options.models or tuple(MODELS)
    with console.status("timing") as status:
        rows = measure(models, threads=options.threads, quick=options.quick, progress=status.update)
    print_tables(console, rows)
    if options.json:
        if options.add and options.json.exists():
            rows = merged(results.read(options.json)["metrics"], rows)
        results.write(
            options.json,
            name=options.json.stem,
            command=command_line(),
            seed=0,
            data="random batches",
            device="cpu",
            time_s=time.perf_counter() - start,
            metrics={"threads": options.threads} | rows,
        )


if __name__ == "__main__":
    main()
