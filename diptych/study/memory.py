"""The memory experiment: how long recurrent networks remember under each dropout scheme.

Zaremba et al. (2014) and Gal & Ghahramani (2016) argue that the memory is destroyed if other
recurrent connections are dropped at every step. The experiment measures this: the same network
learns the same task (by default to recall one symbol after 100 steps) under each scheme of
model_specs.recurrent.dropout from several seeds, and is evaluated without dropout, also at longer
delays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console

from diptych.data import MemoryTask, load
from diptych.data.memory import DATA
from diptych.display import Table
from diptych.files import write_json
from diptych.runs.config import RunConfig
from diptych.runs.environment import environment
from diptych.runs.folder import RunFolder
from diptych.study.trainings import train_from_scratch
from diptych.tasks import Options, make_task
from diptych.tasks.memory import TOLERANCE
from diptych.training.presets import settings
from diptych.training.train import NonFiniteError, train
from diptych.workers import run_jobs
from model_specs.common.effects import effective
from model_specs.common.fields import check_choice, check_positive_int
from model_specs.recurrent.dropout import SCHEMES

TEST = 1000
"""Test sequences for each accuracy."""


@dataclass(frozen=True)
class Settings:
    """Settings with which a network learns copy:100:1 in 2000 steps, unless dropout prevents it."""

    fields: dict[str, Any]
    """fields of the model's config"""
    run: dict[str, Any]
    """fields of RunConfig"""


MODELS = {
    "rnn": Settings({"hidden_dim": 32}, {"lr": 2e-3, "epochs": 8}),
    # a forget gate of sigmoid(5) keeps half of the cell state after 100 steps: sigmoid(5)^100 = 1/2
    "lstm": Settings(
        {"embedding_dim": 32, "hidden_dim": 64, "init_scale": 0.5, "forget_bias": 5.0},
        {"lr": 3e-3, "epochs": 20},
    ),
}
RUN: dict[str, Any] = {"batch_size": 32, "clip": 1.0, "schedule": "cosine", "log_every": 100}


@dataclass(frozen=True)
class Job:
    """One run, as it is sent to a worker process."""

    config: RunConfig
    path: Path
    delays: tuple[int, ...]
    restart: bool

    @property
    def scheme(self) -> str:
        return self.config.model_config["scheme"]


@dataclass(frozen=True)
class Experiment:
    """The runs of a memory experiment and what they have in common."""

    folder: Path
    task: MemoryTask
    jobs: tuple[Job, ...]
    metadata: dict[str, Any]

    def results(
        self, outcomes: Mapping[tuple[str, int], dict[str, Any]], seconds: float, workers: int
    ) -> dict[str, Any]:
        """Collect the outcomes, by scheme and seed, and write them to memory.json."""
        schemes = dict.fromkeys(job.scheme for job in self.jobs)
        seeds = self.metadata["seeds"]
        results = {
            "settings": self.metadata,
            "chance": chance(self.task),
            "schemes": {
                scheme: _over_seeds([outcomes[scheme, seed] for seed in seeds])
                for scheme in schemes
            },
            "seconds": seconds,
            "workers": workers,
            **environment(),
        }
        write_json(self.folder / "memory.json", results)
        return results


def memory_experiment(
    folder: Path | str, *, workers: int = 2, console: Console | None = None, **options: Any
) -> dict[str, Any]:
    """Train on a memory task for each scheme and seed; return the results, as in memory.json.

        {"settings": ..., "chance": ..., "seconds": ..., "machine": ..., ...
         "schemes": {scheme: {"accuracy": [one per seed], "mean", "spread",
                              "delays": {"200": [one per seed]}, "seconds": [...],
                              "curves": [{"step", "accuracy", "error", "train_error"}, ...],
                              "diverged": [None or the error message, one per seed]}}}

    `options` are those of `plan`. With more than one worker, each is a process with one thread.

    Units: accuracy is the share of right answers without dropout, on 1000 test sequences; in curves
    on 500 validation sequences after each epoch. spread is the standard deviation over the seeds.
    error is in nats per symbol for copy; train_error is the error with dropout.
    Raises: ValueError as `plan`.
    """
    start = time.perf_counter()
    check_positive_int("workers", workers)
    experiment = plan(folder, **options)
    outcomes: dict[tuple[str, int], dict[str, Any]] = {}
    for job, outcome in run_jobs(train_and_evaluate, experiment.jobs, workers):
        outcomes[job.scheme, job.config.seed] = outcome
        if console is not None:
            console.print(f"{len(outcomes):>3}/{len(experiment.jobs)}", end="  ", highlight=False)
            print_outcome(job, outcome, console)
    return experiment.results(outcomes, time.perf_counter() - start, workers)


def plan(
    folder: Path | str,
    *,
    model: str = "rnn",
    data: str = "copy:100:1",
    schemes: Sequence[str] = tuple(SCHEMES),
    rate: float = 0.3,
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int | None = None,
    backend: str = "numpy",
    delays: Sequence[int] = (20, 50, 100, 200),
    fields: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    restart: bool = False,
) -> Experiment:
    """Make the runs of a memory experiment: one for each scheme and seed.

    `rate` is the dropout rate of every scheme but "none"; `fields` of the model and `run` of
    RunConfig override MODELS. Each run has a folder below `folder`: a run that is there is resumed,
    or read if it is finished; with `restart` it is trained again.

    Raises: ValueError for data that are no memory task, for invalid fields, and if a folder holds a
    run of other settings.
    """
    task = load(data)
    if not isinstance(task, MemoryTask):
        raise ValueError(f"data: got {data!r}, takes copy or adding")
    check_choice("model", model, MODELS)
    for name, values in (("schemes", schemes), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name}: got {list(values)}, takes one or more, each once")
    changes = dict(run or {}) | {"backend": backend}
    changes |= {} if epochs is None else {"epochs": epochs}
    options = effective(RunConfig, RUN | MODELS[model].run, changes)
    jobs = []
    for scheme in schemes:
        dropout = {"scheme": scheme, "rate": 0.0 if scheme == "none" else rate}
        model_fields = MODELS[model].fields | dict(fields or {}) | dropout
        config = settings(model, data, task, None, model_fields, options)
        for seed in seeds:
            path = Path(folder) / f"{scheme}-{seed}"
            jobs.append(Job(replace(config, seed=seed), path, tuple(delays), restart))
    metadata = {
        "data": data,
        "rate": rate,
        "seeds": list(seeds),
        "delays": list(delays),
        "length": task.length,
        "config": asdict(jobs[0].config),
    }
    return Experiment(Path(folder), task, tuple(jobs), metadata)


def chance(task: MemoryTask) -> float:
    """Return the accuracy of a network without memory.

    copy: it guesses one of 8 symbols. adding: it always answers 1, the mean of the sum s of two
    uniform numbers, whose density is 1 - |s - 1|.
    """
    return 1 / DATA if task.kind == "copy" else 1 - (1 - TOLERANCE) ** 2


def table(results: Mapping[str, Any]) -> Table:
    """Make a table of accuracies in %: a row for each scheme, with its seeds and delays."""
    metadata = results["settings"]
    model, data, rate = metadata["config"]["model"], metadata["data"], metadata["rate"]
    title = f"{model} on {data}, rate {rate}: accuracy in %"
    full_title = f"{title}, chance {100 * results['chance']:.1f}"
    rows = Table(title=full_title, box=box.SIMPLE_HEAD)
    heads = ["scheme", "mean", "std", "each seed", *(f"delay {d}" for d in metadata["delays"])]
    for head in [*heads, "seconds"]:
        first = head == "scheme"
        rows.add_column(head, justify="left" if first else "right", no_wrap=first)
    for scheme, result in results["schemes"].items():
        seeds = "  ".join(_percent(a) for a in result["accuracy"])
        means = [_percent(_mean(a)) for a in result["delays"].values()]
        summary = _percent(result["mean"]), _percent(result["spread"])
        rows.add_row(scheme, *summary, seeds, *means, f"{np.mean(result['seconds']):.0f}")
    return rows


def train_and_evaluate(job: Job) -> dict[str, Any]:
    """Train, resume or read a run, and evaluate it at the trained length and at each delay."""
    task = load(job.config.data)
    assert isinstance(task, MemoryTask)
    no_accuracy = {"accuracy": None, "delays": {str(delay): None for delay in job.delays}}
    try:
        if job.restart:
            outcome = train_from_scratch(job.config, task, job.path, None)
        else:
            resume = RunFolder(job.path).settings_file.exists()
            outcome = train(job.config, task, job.path, resume=resume)
    except NonFiniteError as error:
        return no_accuracy | {"seconds": 0.0, "curve": None, "diverged": str(error)}
    if outcome.interrupted:
        raise KeyboardInterrupt
    options = Options(Console(quiet=True), examples=TEST)

    def accuracy(length: int) -> float:
        name = ":".join([task.kind, str(length)] + [str(task.items)] * (task.kind == "copy"))
        assessment = make_task(job.config, load(name)).assess([outcome.panel], options)
        return assessment.metrics["test_accuracy"]

    lines = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
    accuracies = {delay: accuracy(delay) for delay in dict.fromkeys((task.length, *job.delays))}
    return {
        "accuracy": accuracies[task.length],
        "delays": {str(delay): accuracies[delay] for delay in job.delays},
        "seconds": outcome.seconds,
        "curve": {
            "step": [line["step"] for line in lines],
            "accuracy": [line["valid"]["accuracy"] for line in lines],
            "error": [line["valid"]["error"] for line in lines],
            "train_error": [_error(line["train"]) for line in lines],
        },
        "diverged": None,
    }


def _error(terms: Mapping[str, float]) -> float:
    """Return the error among the loss terms of a recurrent model, its only one beside the total."""
    return next(value for name, value in terms.items() if name != "total")


def _over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Collect the outcomes of one scheme over the seeds."""
    accuracy = [run["accuracy"] for run in runs]
    finished = [a for a in accuracy if a is not None]
    return {
        "accuracy": accuracy,
        "mean": _mean(accuracy),
        "spread": float(np.std(finished, ddof=1)) if len(finished) > 1 else None,
        "delays": {delay: [run["delays"][delay] for run in runs] for delay in runs[0]["delays"]},
        "seconds": [run["seconds"] for run in runs],
        "curves": [run["curve"] for run in runs],
        "diverged": [run["diverged"] for run in runs],
    }


def print_outcome(job: Job, outcome: dict[str, Any], console: Console) -> None:
    """Print the accuracy of a run in one line."""
    message = outcome["diverged"] or f"{_percent(outcome['accuracy'])} % right"
    seconds = f"{outcome['seconds']:.0f} s"
    console.print(
        f"{job.scheme}, seed {job.config.seed}: {message}, {seconds}",
        highlight=False,
        markup=False,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    finished = [value for value in values if value is not None]
    return float(np.mean(finished)) if finished else None


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
