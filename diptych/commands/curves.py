"""Compare the loss curves of two runs: `diptych curves`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diptych import figures
from diptych.commands.open import have_same_data
from diptych.display import Table
from diptych.runs import results
from diptych.runs.environment import command_line
from diptych.runs.folder import RunFolder


def compare_runs(
    left: Path, right: Path, *, out: Path | None, record: Path | None, console: Console
) -> dict[str, Any]:
    """Compare the loss curves of one run on both panels; print and return their differences.

    `out` gets a figure of both curves, `record` the numbers as a result for the documentation.
    Raises: ValueError if the runs differ in more than their backend, or one is not finished.
    """
    folders = [RunFolder(path) for path in (left, right)]
    configs = [folder.config() for folder in folders]
    settings = [asdict(config) for config in configs]
    free = ("backend", "data")
    other = [k for k in settings[0] if k not in free and settings[0][k] != settings[1][k]]
    if not have_same_data(*folders):
        other.append("data")
    if other:
        raise ValueError(f"{right}: differs from {left} in {', '.join(other)}, takes the same run")
    histories = [folder.history() for folder in folders]
    steps, epochs = [h.steps for h in histories], [h.epochs for h in histories]
    required = configs[0].epochs
    if configs[0].patience is not None:  # both may have stopped early, at the same epoch
        required = max(1, *(len(log) for log in epochs))
    for path, log in zip((left, right), epochs, strict=True):
        if len(log) < required:
            raise ValueError(f"{path}: has {len(log)} of {required} epochs, takes a finished run")
    names = [name for name in steps[0][0] if name not in ("kind", "epoch")]
    curves = {
        config.backend: {name: np.array([line[name] for line in log]) for name in names}
        for config, log in zip(configs, steps, strict=True)
    }
    seconds = [log[-1]["seconds"] for log in epochs]
    differences = {
        "first_100_steps": _relative_difference(
            *([line for line in log if line["step"] <= 100] for log in steps)
        ),
        "all_logged_steps": _relative_difference(*steps),
        "train_epochs": _relative_difference(*([line["train"] for line in log] for log in epochs)),
    }
    if configs[0].validates:
        valid = ([line["valid"] for line in log] for log in epochs)
        differences["valid_epochs"] = _relative_difference(*valid)
    metrics: dict[str, Any] = {f"relative_difference_{k}": v for k, v in differences.items()}
    metrics |= {f"train_seconds_{c.backend}": s for c, s in zip(configs, seconds, strict=True)}
    metrics |= {"epochs": len(epochs[0]), "dtype": configs[0].dtype}
    table = Table("quantity", "value", box=None)
    for name, value in metrics.items():
        table.add_row(name, f"{value:.3g}" if isinstance(value, float) else str(value))
    console.print(table)
    if out is not None:
        figures.save(figures.loss_curves(curves), out)
        console.print(f"curves in {out}", markup=False, soft_wrap=True)
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


def _relative_difference(left: list[dict[str, float]], right: list[dict[str, float]]) -> float:
    """The largest |left - right| / |right| of the total, or of the first term without a total."""
    name = "total" if "total" in left[0] else next(iter(left[0]))
    a, b = (np.array([line[name] for line in log]) for log in (left, right))
    return float(np.max(np.abs(a - b) / np.abs(b)))
