"""Evaluate trained runs: `diptych evaluate`."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from diptych.commands.open import check_same_data, have_same_data, load_data, open_run
from diptych.display import Table
from diptych.evaluation.paired import write_columns
from diptych.files import write_json
from diptych.runs import results
from diptych.runs.environment import command_line, device_name
from diptych.runs.folder import RunFolder
from diptych.tasks import Options, make_task
from model_specs.common.fields import check_choice


def evaluate_runs(
    paths: list[Path],
    options: Options,
    *,
    last: bool = False,
    data: str | None = None,
    data_root: Path | None = None,
    device: str | None = None,
    record: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a run, or several runs of text together; print and return the metrics.

    A run that stopped, or is not finished, is named below the table. The metrics are also written
    to evaluation.json of the first run, and to `record` as a result for the documentation (see
    diptych.runs.results); the numbers of each image to `options.per_image`. Of several runs,
    "epochs" is the smallest number.
    `data` names the place of a text that has moved, as "text:/new/place.txt".
    Raises: ValueError if the runs were trained on different data, or if their data have changed.
    """
    check_choice("split", options.split, ("train", "valid", "test"))
    opened = [open_run(path, last=last, device=device) for path in paths]
    config, folder, _ = opened[0]
    other = [str(f.path) for _, f, _ in opened if not have_same_data(folder, f)]
    if other:
        raise ValueError(
            f"{', '.join(other)}: trained on other data than {folder.path} ({config.data})"
        )
    dataset = load_data(config, data, data_root)
    for _, other_folder, _ in opened:
        check_same_data(other_folder, dataset)
    task = make_task(config, dataset)
    if options.resume and not task.resumable:
        raise ValueError(f"resume: got a run on {config.data}, takes one on images")
    # read first: damage is told before hours of work
    histories = [f.history().epochs for _, f, _ in opened]
    remarks = [(f.path, remark) for _, f, _ in opened if (remark := f.remark()) is not None]
    history, times = histories[0], [lines[-1]["seconds"] if lines else 0 for lines in histories]
    settings = asdict(folder.config()) | trained([f for _, f, _ in opened])
    start = time.perf_counter()
    options = replace(options, folder=folder.path)
    result = task.assess([panel for *_, panel in opened], options)
    seconds = result.earlier_seconds + time.perf_counter() - start
    metrics = result.metrics | {
        "train_seconds": sum(times) if all(times) else None,
        "epochs": min(map(len, histories)),
        "evaluation_seconds": seconds,
    }
    write_json(folder.path / "evaluation.json", metrics)
    if record is not None:
        results.write(
            record,
            name=record.stem,
            command=command_line(),
            seed=config.seed,
            data=task.summary(),
            device=device_name(config.device),
            time_s=metrics["train_seconds"] or seconds,
            metrics=metrics | {"history": [line["valid"] for line in history if line["valid"]]},
            settings=settings,
        )
    if options.per_image is not None:
        write_columns(options.per_image, result.columns)
    if result.partial is not None:
        result.partial.unlink(missing_ok=True)
    table = Table(title=f"{', '.join(map(str, paths))}: {result.title}")
    for heading in ("quantity", "value", "unit"):
        table.add_column(heading)
    for line in result.lines:
        table.add_row(*line)
    options.console.print(table)
    for note in (*result.notes, *(f"{path}: {remark}" for path, remark in remarks)):
        options.console.print(note, markup=False)
    return metrics


def trained(folders: list[RunFolder]) -> dict[str, Any]:
    """The training of some runs: all commands, and the seed, commit and threads of each."""
    settings = [folder.settings() for folder in folders]
    runs = [
        {
            "seed": folder.config().seed,
            "commit": one.get("commit"),
            "threads": one.get("conditions", {}).get("torch threads"),
        }
        for folder, one in zip(folders, settings, strict=True)
    ]
    return {"command": "\n".join(one.get("command", "") for one in settings), "trained": runs}
