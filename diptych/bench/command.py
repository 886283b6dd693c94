"""`diptych bench`: measure, print the tables, and write the JSON file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.bench import record, tables
from diptych.bench.measure import Measured, Measurement
from diptych.bench.points import Settings, plan
from diptych.display import progress_bar
from diptych.files import write_json
from diptych.runs import results
from diptych.runs.environment import command_line, device_name
from torch_impl.nn.module import as_device


def bench(settings: Settings, console: Console, json_file: Path | None = None) -> dict[str, Any]:
    """Measure the models, print the tables, and return the result; see diptych.runs.results.

    The result is written to `json_file` unless that is None. After Ctrl-C everything that was
    measured is printed, and nothing is written.
    Raises: ValueError for a device that this machine lacks, and DisagreementError if a backend
    computes something else than the left panel.
    """
    as_device(settings.device)
    start = time.perf_counter()
    measured = Measured()
    try:
        _measure(settings, measured, console)
    except KeyboardInterrupt:
        tables.show(record.metrics(settings, measured), console)
        raise
    metrics = record.metrics(settings, measured)
    tables.show(metrics, console)
    result = results.complete(
        "bench",
        name="speed" if json_file is None else json_file.stem,
        command=command_line(),
        seed=0,
        data="random batches",
        device=device_name(settings.device),
        time_s=time.perf_counter() - start,
        metrics=metrics,
    )
    if json_file is not None:
        write_json(json_file, result)
        console.print(json_file, soft_wrap=True, highlight=False)
    return result


def _measure(settings: Settings, measured: Measured, console: Console) -> None:
    series = plan(settings)
    total = sum(len(point.operations) for one in series for point in one.points)
    with progress_bar(console) as progress:
        task = progress.add_task("bench", total=total, message="")

        def show(message: str, done: int) -> None:
            if message:
                progress.update(task, message=message)
            progress.advance(task, done)

        Measurement(settings, show, measured).run(series)
