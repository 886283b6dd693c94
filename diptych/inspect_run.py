"""What is done with a trained run: `diptych evaluate` and `diptych sample`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from diptych import data, figures, results, weights
from diptych.data.dataset import count as count_images
from diptych.evaluation import elbo_terms, importance_weighted
from diptych.panels import Panel
from diptych.parity.tree import to_numpy
from diptych.run import RunConfig, RunFolder, command_line, device_name, read_metrics
from diptych.training import build, held_out_images
from diptych.weights import write_atomically
from model_specs.fields import check_choice, check_positive_int
from model_specs.key import Key
from numpy_ref import random


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


def evaluate_run(
    path: Path,
    *,
    split: str,
    samples: int,
    examples: int | None,
    last: bool,
    memory_mb: float,
    data_root: Path | None,
    device: str | None,
    record: Path | None,
    console: Console,
) -> dict[str, Any]:
    """Print and return the metrics of a run; they are also left in RUN/evaluation.json.

    A subset is drawn after a fixed shuffle, because some test sets are sorted by class.
    """
    check_choice("split", split, ("train", "valid", "test"))
    config, folder, panel = open_run(path, last=last, device=device)
    dataset = data.load(config.data, data_root)
    x = held_out_images(config, dataset, split)
    if examples is not None:
        check_positive_int("examples", examples)
        x = x[random.permutation(Key(0).fold_in("subset"), len(x))[:examples]]
    key = Key(config.seed).fold_in("evaluation")
    begun = time.perf_counter()
    with Progress(console=console) as progress:
        bar = progress.add_task(f"{samples} samples", total=samples * len(x))
        found = importance_weighted(
            panel, x, key, samples, memory_mb, lambda n: progress.advance(bar, n)
        )
    terms = elbo_terms(panel, x, key.fold_in("terms"))
    history = [line for line in read_metrics(folder.metrics_file) if line["kind"] == "epoch"]
    metrics = {f"{split}_{name}": value for name, value in asdict(found).items()}
    metrics |= {f"{split}_{name}": value for name, value in terms.items() if name != "total"}
    metrics |= {
        "train_seconds": history[-1]["seconds"] if history else None,
        "epochs": len(history),
    }
    metrics |= {"evaluation_seconds": time.perf_counter() - begun}
    write_atomically(folder.path / "evaluation.json", json.dumps(metrics, indent=1).encode())
    if record is not None:
        results.write(
            record,
            name=record.stem,
            command=command_line(),
            seed=config.seed,
            data=f"{dataset.name}: {count_images(dataset.train, dataset.valid, dataset.test)}",
            device=device_name(config.device),
            time_s=metrics["train_seconds"] or metrics["evaluation_seconds"],
            metrics=metrics,
            settings=asdict(config) | {"command": folder.settings()["command"]},
        )
    table = Table(title=f"{path}: {split}, {len(x)} examples, {samples} importance samples")
    for heading in ("quantity", "value", "unit"):
        table.add_column(heading)
    error = found.nll_standard_error
    spread = "" if error is None else f" ± {error:.3f}"
    table.add_row("NLL", f"{found.nll:.3f}{spread}", "nats/example")
    table.add_row("NLL", f"{found.bits_per_dim:.4f}", "bits/dim")
    table.add_row("ELBO", f"{found.elbo:.3f}", "nats/example")
    for name, value in terms.items():
        table.add_row(name, f"{value:.3f}", "nats/example")
    console.print(table)
    return metrics


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
    for path, log in zip((left, right), epochs, strict=True):
        if not log or len(log) < configs[0].epochs:
            raise ValueError(
                f"{path}: has {len(log)} of {configs[0].epochs} epochs, takes a whole run"
            )
    names = ("step", "total", "recon", "kl")
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
    """The largest |left - right| / |right| of the total."""
    a, b = (np.array([line["total"] for line in log]) for log in (left, right))
    return float(np.max(np.abs(a - b) / np.abs(b)))


def sample_run(
    path: Path,
    *,
    count: int,
    seed: int,
    mean: bool,
    last: bool,
    out: Path | None,
    root: Path | None,
) -> Path:
    """Draw `count` examples from a run's prior into a PNG; returns its path."""
    check_positive_int("count", count)
    _, folder, panel = open_run(path, last=last)
    x = to_numpy(panel.model.sample(Key(seed).fold_in("sample"), count, mean=mean))
    side = int(x.shape[1] ** 0.5)
    shape = (side, side) if side * side == x.shape[1] else (1, x.shape[1])
    target = out or folder.path / "samples.png"
    columns = max(1, int(np.ceil(count**0.5)))
    figures.save(figures.image_grid(x.reshape(count, *shape), columns), target)
    return target
