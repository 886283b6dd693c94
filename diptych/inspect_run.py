"""What is done with a trained run: `diptych evaluate` and `diptych sample`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from diptych import data, figures, results, weights
from diptych.panels import Panel
from diptych.run import RunConfig, RunFolder, command_line, device_name, digest, read_metrics
from diptych.tasks import Options, make_task
from diptych.training import build
from diptych.weights import write_atomically
from model_specs.fields import check_choice


def open_run(
    path: Path, *, last: bool = False, device: str | None = None
) -> tuple[RunConfig, RunFolder, Panel]:
    """A trained run with its weights: the best on validation, or the last.

    Raises: ValueError where the folder holds no run or no finished weights.
    """
    folder = RunFolder(path)
    config = folder.config()
    if device is not None:
        config = replace(config, device=device)
    panel = build(config)
    best = not last and folder.best_file.exists()
    weights.load(panel.model, folder.best_file if best else folder.last_file)
    return config, folder, panel


def evaluate_runs(
    paths: list[Path],
    options: Options,
    *,
    last: bool = False,
    data_root: Path | None = None,
    device: str | None = None,
    record: Path | None = None,
) -> dict[str, Any]:
    """Print and return the metrics of a run, or of several together where its kind of data knows
    how; they are also left in evaluation.json of the first."""
    check_choice("split", options.split, ("train", "valid", "test"))
    opened = [open_run(path, last=last, device=device) for path in paths]
    config, folder, _ = opened[0]
    other = [str(f.path) for c, f, _ in opened if c.data != config.data]
    if other:
        raise ValueError(f"{', '.join(other)}: not on {config.data} as {folder.path} is")
    dataset = data.load(config.data, data_root)
    for _, other_folder, _ in opened:
        _check_same_data(other_folder, dataset)
    task = make_task(config, dataset)
    if options.resume and not task.resumable:
        raise ValueError(f"resume: got a run on {config.data}, takes one on images")
    begun = time.perf_counter()
    options = replace(options, folder=folder.path)
    found = task.assess([panel for *_, panel in opened], options)
    seconds = found.earlier_seconds + time.perf_counter() - begun
    history = [line for line in read_metrics(folder.metrics_file) if line["kind"] == "epoch"]
    metrics = found.metrics | {
        "train_seconds": history[-1]["seconds"] if history else None,
        "epochs": len(history),
        "evaluation_seconds": seconds,
    }
    write_atomically(folder.path / "evaluation.json", json.dumps(metrics, indent=1).encode())
    if record is not None:
        results.write(
            record,
            name=record.stem,
            command=command_line(),
            seed=config.seed,
            data=task.found(),
            device=device_name(config.device),
            time_s=metrics["train_seconds"] or seconds,
            metrics=metrics | {"history": [line["valid"] for line in history]},
            settings=asdict(folder.config()) | {"command": folder.settings()["command"]},
        )
    if found.partial is not None:
        found.partial.unlink(missing_ok=True)
    table = Table(title=f"{', '.join(map(str, paths))}: {found.title}")
    for heading in ("quantity", "value", "unit"):
        table.add_column(heading)
    for line in found.lines:
        table.add_row(*line)
    options.console.print(table)
    return metrics


def _check_same_data(folder: RunFolder, dataset: data.Data) -> None:
    """Raise ValueError where a run was trained on other data: a token would mean something else."""
    if folder.settings().get("data_digest") != digest(dataset):
        raise ValueError(
            f"{folder.path}: was trained on other data than there is now: {dataset.found}"
        )


def compare_runs(
    left: Path, right: Path, *, out: Path | None, record: Path | None, console: Console
) -> dict[str, Any]:
    """How far the curves of two runs part, one of each panel; a figure of both over each other.

    Raises: ValueError where the runs differ in more than their backend.
    """
    configs = [RunFolder(path).config() for path in (left, right)]
    settings = [asdict(config) for config in configs]
    other = [k for k in settings[0] if k != "backend" and settings[0][k] != settings[1][k]]
    if other:
        raise ValueError(f"{right}: differs from {left} in {', '.join(other)}, takes the same run")
    lines = [read_metrics(RunFolder(path).metrics_file) for path in (left, right)]
    steps = [[line for line in log if line["kind"] == "step"] for log in lines]
    epochs = [[line for line in log if line["kind"] == "epoch"] for log in lines]
    whole = configs[0].epochs
    if configs[0].patience is not None:  # both may have stopped early, at the same epoch
        whole = max(1, *(len(log) for log in epochs))
    for path, log in zip((left, right), epochs, strict=True):
        if len(log) < whole:
            raise ValueError(f"{path}: has {len(log)} of {whole} epochs, takes a whole run")
    names = [name for name in steps[0][0] if name not in ("kind", "epoch")]
    curves = {
        config.backend: {name: np.array([line[name] for line in log]) for name in names}
        for config, log in zip(configs, steps, strict=True)
    }
    seconds = [log[-1]["seconds"] for log in epochs]
    apart = {
        "first_100_steps": _apart(
            *([line for line in log if line["step"] <= 100] for log in steps)
        ),
        "all_logged_steps": _apart(*steps),
        "train_epochs": _apart(*([line["train"] for line in log] for log in epochs)),
        "valid_epochs": _apart(*([line["valid"] for line in log] for log in epochs)),
    }
    metrics: dict[str, Any] = {f"relative_difference_{k}": v for k, v in apart.items()}
    metrics |= {f"train_seconds_{c.backend}": s for c, s in zip(configs, seconds, strict=True)}
    metrics |= {"epochs": len(epochs[0]), "dtype": configs[0].dtype}
    for name, value in metrics.items():
        console.print(
            f"{name:>42}  {value:.3g}" if isinstance(value, float) else f"{name:>42}  {value}"
        )
    if out is not None:
        figures.save(figures.loss_curves(curves), out)
        console.print(f"curves in {out}")
    if record is not None:
        results.write(
            record,
            name=record.stem,
            command=command_line(),
            seed=configs[0].seed,
            data=configs[0].data,
            device="cpu",
            time_s=sum(seconds),
            metrics=metrics,
            settings=settings[0],
        )
    return metrics


def _apart(left: list[dict[str, float]], right: list[dict[str, float]]) -> float:
    """The largest |left - right| / |right| of the total, or of what stands first without one."""
    name = "total" if "total" in left[0] else next(iter(left[0]))
    a, b = (np.array([line[name] for line in log]) for log in (left, right))
    return float(np.max(np.abs(a - b) / np.abs(b)))


def sample_run(
    path: Path,
    options: Options,
    *,
    last: bool = False,
    data_root: Path | None = None,
    device: str | None = None,
) -> str:
    """Draw from a trained run; returns what to tell the user: a text, or where the picture is."""
    config, folder, panel = open_run(path, last=last, device=device)
    dataset = data.load(config.data, data_root)
    _check_same_data(folder, dataset)
    task = make_task(config, dataset)
    return task.sample(panel, folder.path, options)
