"""How long a memory lasts under each dropout scheme: one symbol, 100 steps, then the question.

Zaremba et al. (2014) and Gal & Ghahramani (2016) argue that noise which crosses the memory at every
step destroys it. Here that is measured: the same network learns the same task under each scheme
of model_specs.recurrent.dropout from several seeds, and is evaluated without
dropout, at longer delays too.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.text import Text

from diptych.data import MemoryTask, load
from diptych.data.memory import DATA
from diptych.display import Table
from diptych.files import write_atomically
from diptych.runs.config import RunConfig
from diptych.runs.environment import environment
from diptych.runs.folder import RunFolder
from diptych.study.trainings import train_anew
from diptych.tasks import Options, make_task
from diptych.tasks.memory import TOLERANCE
from diptych.training.presets import settings
from diptych.training.train import NonFiniteError, train
from model_specs.common.fields import check_choice, check_positive_int
from model_specs.recurrent.dropout import SCHEMES

TEST = 1000
"""Sequences that each accuracy is measured on."""


@dataclass(frozen=True)
class Settings:
    """In which a network learns copy:100:1 within 2000 steps, where its dropout lets it."""

    fields: dict[str, Any]
    """of the model's config"""
    run: dict[str, Any]
    """of RunConfig"""


MODELS = {
    "rnn": Settings({"hidden_dim": 32}, {"lr": 2e-3, "epochs": 8}),
    # sigmoid(5)^100 = 1/2: the cell can hold something for as long as it is asked to
    "lstm": Settings(
        {"embedding_dim": 32, "hidden_dim": 64, "init_scale": 0.5, "forget_bias": 5.0},
        {"lr": 3e-3, "epochs": 20},
    ),
}
RUN: dict[str, Any] = {"batch_size": 32, "clip": 1.0, "schedule": "cosine", "log_every": 100}


@dataclass(frozen=True)
class Job:
    """One run: what a worker process is sent."""

    config: RunConfig
    path: Path
    delays: tuple[int, ...]
    anew: bool

    @property
    def scheme(self) -> str:
        return self.config.model_config["scheme"]


def memory_experiment(
    folder: Path | str,
    *,
    model: str = "rnn",
    data: str = "copy:100:1",
    schemes: Sequence[str] = tuple(SCHEMES),
    rate: float = 0.3,
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int | None = None,
    backend: str = "numpy",
    workers: int = 2,
    delays: Sequence[int] = (20, 50, 100, 200),
    fields: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    anew: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train `model` on `data` once for each scheme and seed; returns what memory.json then holds.

        {"settings": ..., "chance": ..., "seconds": ..., "machine": ..., ...
         "schemes": {scheme: {"accuracy": [a number a seed], "mean", "spread",
                              "delays": {"200": [a number a seed]}, "seconds": [...],
                              "curves": [{"step", "accuracy", "error", "train_error"} a seed],
                              "diverged": [None or what became NaN or inf, a seed]}}}

    `rate` holds wherever a scheme drops anything; `fields` of the model and `run` of RunConfig go
    over MODELS. Each run has a folder below `folder`: one that is there is gone on with, or read
    where it is finished; with `anew` it is trained again. More than one worker: processes of one
    thread each.

    Units: accuracy is the share of right answers, dropout off: of 1000 test sequences, in curves of
    500 held-out ones after each epoch. spread is the standard deviation over the seeds. error is in
    nats a symbol for copy; train_error is that of the network with its masks.
    Raises: ValueError for data that is no memory task, for what the configs do not take, and where
    a folder holds a run of other settings.
    """
    begun = time.perf_counter()
    task = load(data)
    if not isinstance(task, MemoryTask):
        raise ValueError(f"data: got {data!r}, takes copy or adding")
    check_choice("model", model, MODELS)
    check_positive_int("workers", workers)
    for name, values in (("schemes", schemes), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name}: got {list(values)}, takes one or more, each once")
    given = RUN | MODELS[model].run | dict(run or {}) | {"backend": backend}
    given |= {} if epochs is None else {"epochs": epochs}
    jobs = []
    for scheme in schemes:
        dropped = {"scheme": scheme, "rate": 0.0 if scheme == "none" else rate}
        own = MODELS[model].fields | dict(fields or {}) | dropped
        config = settings(model, data, task, None, own, given)
        for seed in seeds:
            path = Path(folder) / f"{scheme}-{seed}"
            jobs.append(Job(replace(config, seed=seed), path, tuple(delays), anew))

    result: dict[tuple[str, int], dict[str, Any]] = {}
    for job, outcome in _work(_train_one, jobs, workers):
        result[job.scheme, job.config.seed] = outcome
        if console is not None:
            _tell_one(job, outcome, len(result), len(jobs), console)
    results = {
        "settings": {
            "data": data,
            "rate": rate,
            "seeds": list(seeds),
            "delays": list(delays),
            "length": task.length,
            "config": asdict(jobs[0].config),
        },
        "chance": chance(task),
        "schemes": {
            scheme: _gather([result[scheme, seed] for seed in seeds]) for scheme in schemes
        },
        "seconds": time.perf_counter() - begun,
        "workers": workers,
        **environment(),
    }
    write_atomically(Path(folder) / "memory.json", (json.dumps(results, indent=1) + "\n").encode())
    return results


def chance(task: MemoryTask) -> float:
    """The accuracy of one who remembers nothing: any of copy's 8 symbols; 1 for every sum of two
    uniform numbers, whose density is 1 - |s - 1|."""
    return 1 / DATA if task.kind == "copy" else 1 - (1 - TOLERANCE) ** 2


def table(results: Mapping[str, Any]) -> Table:
    """Accuracy in %, a row a scheme: mean and spread, each seed, and the mean at each delay."""
    metadata = results["settings"]
    model, data, rate = metadata["config"]["model"], metadata["data"], metadata["rate"]
    title = f"{model} on {data}, rate {rate}: accuracy in %"
    # as Text: in markup, ":100:" would be an emoji
    whole = Text(f"{title}, chance {100 * results['chance']:.1f}")
    result = Table(title=whole, box=box.SIMPLE_HEAD)
    heads = ["scheme", "mean", "spread", "each seed", *(f"delay {d}" for d in metadata["delays"])]
    for head in [*heads, "seconds"]:
        first = head == "scheme"
        result.add_column(head, justify="left" if first else "right", no_wrap=first)
    for scheme, measured in results["schemes"].items():
        each = "  ".join(_percent(a) for a in measured["accuracy"])
        means = [_percent(_mean(a)) for a in measured["delays"].values()]
        ends = _percent(measured["mean"]), _percent(measured["spread"])
        result.add_row(scheme, *ends, each, *means, f"{np.mean(measured['seconds']):.0f}")
    return result


def _train_one(job: Job) -> dict[str, Any]:
    """Train, or go on, and judge at the trained length and at each delay."""
    task = load(job.config.data)
    assert isinstance(task, MemoryTask)
    nothing = {"accuracy": None, "delays": {str(delay): None for delay in job.delays}}
    try:
        if job.anew:
            outcome = train_anew(job.config, task, job.path, None)
        else:
            begun = RunFolder(job.path).settings_file.exists()
            outcome = train(job.config, task, job.path, resume=begun)
    except NonFiniteError as error:
        return nothing | {"seconds": 0.0, "curve": None, "diverged": str(error)}
    if outcome.interrupted:
        raise KeyboardInterrupt
    options = Options(Console(quiet=True), examples=TEST)

    def accuracy(length: int) -> float:
        name = ":".join([task.kind, str(length)] + [str(task.items)] * (task.kind == "copy"))
        judged = make_task(job.config, load(name)).assess([outcome.panel], options)
        return judged.metrics["test_accuracy"]

    lines = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
    term = "nll" if job.config.model == "lstm" else "error"
    return {
        "accuracy": accuracy(task.length),
        "delays": {str(delay): accuracy(delay) for delay in job.delays},
        "seconds": outcome.seconds,
        "curve": {
            "step": [line["step"] for line in lines],
            "accuracy": [line["valid"]["accuracy"] for line in lines],
            "error": [line["valid"]["error"] for line in lines],
            "train_error": [line["train"][term] for line in lines],
        },
        "diverged": None,
    }


def _gather(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs of one scheme, a seed after the other."""
    accuracy = [run["accuracy"] for run in runs]
    known = [a for a in accuracy if a is not None]
    return {
        "accuracy": accuracy,
        "mean": _mean(accuracy),
        "spread": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "delays": {delay: [run["delays"][delay] for run in runs] for delay in runs[0]["delays"]},
        "seconds": [run["seconds"] for run in runs],
        "curves": [run["curve"] for run in runs],
        "diverged": [run["diverged"] for run in runs],
    }


def _work(
    function: Callable[[Job], Any], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Any]]:
    """(job, function(job)) as they are done; one worker is this process itself."""
    if workers == 1:
        yield from ((job, function(job)) for job in jobs)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang
    waiting, running = list(jobs), dict[Future[Any], Job]()
    with _one_thread(), ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        while waiting or running:
            # no job lies in the pool's queue, so that an interrupt ends with those that run
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                running[pool.submit(function, job)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started meanwhile use one thread: more than there are cores wait for each other."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})


def _tell_one(job: Job, outcome: dict[str, Any], done: int, of: int, console: Console) -> None:
    message = outcome["diverged"] or f"{_percent(outcome['accuracy'])} % right"
    seconds = f"{outcome['seconds']:.0f} s"
    console.print(
        f"{done:>3}/{of}  {job.scheme}, seed {job.config.seed}: {message}, {seconds}",
        highlight=False,
        markup=False,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
