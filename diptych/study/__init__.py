"""The study (`make study`): check the pairs, train both panels, run experiments, build the site."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych import figures
from diptych.commands.check import check_pairs
from diptych.files import write_json
from diptych.lab import EXPERIMENTS, run_lab
from diptych.runs.environment import environment
from diptych.site.build import build_site
from diptych.study import memory
from diptych.study.image_models import study_image_model
from diptych.study.images import study_images
from diptych.study.parts import Part, run_parts
from diptych.study.text import study_text
from diptych.study.trainings import TRAJECTORY

TRAINING = "2  the two panels learn the same"
MEMORY = "3  dropout and memory"
THEORY = "4  the theory of the VAE"
LONGEST = "lossy"
"""The part that takes longest; it starts first, so that it is not left alone at the end."""


def study(out: Path, epochs: int, console: Console, workers: int = 2) -> bool:
    """Run the study, write its files to `out`; return True if all comparisons agree.

    Both panels train in float64 from the same key, so with the same weights, batches and noise, and
    their curves differ only by rounding. `epochs` are those of the MLP VAE; the convolutional VAE
    takes a twelfth of them, the VLAE an eighth, the recurrent models a fiftieth, and the memory
    experiment a sixteenth, of 100 steps each. Trainings and experiments run in `workers` processes.
    """
    start = time.perf_counter()
    console.rule("1  the two panels compute the same")
    reports = check_pairs(None, "float64", "cpu", console, out / "check.json")

    trained: dict[str, dict[str, Any]] = {}
    truths: dict[str, dict[str, bool]] = {}
    outcomes: dict[tuple[str, int], dict[str, Any]] = {}
    written: list[Path] = []
    experiment = memory.plan(out / "memory", epochs=max(1, epochs // 16), restart=True)
    parts = [*_trainings(out, epochs), *_runs(experiment), *_experiments(out)]
    for part, result in run_parts(parts, workers, console):
        if part.heading == TRAINING:
            trained[part.name], files = result
            written += files
        elif part.heading == THEORY:
            truths[part.name], files = result
            written += files
        else:
            (job,) = part.arguments
            outcomes[job.scheme, job.config.seed] = result
            if len(outcomes) == len(experiment.jobs):
                written.append(_remembered(experiment, outcomes, workers, out, console))

    summary: dict[str, Any] = {"trained": trained, "lab": truths}
    summary["memory"] = {
        scheme: [outcomes[name, seed]["accuracy"] for name, seed in outcomes if name == scheme]
        for scheme, _ in outcomes
    }
    summary |= {"parity": {report.name: report.ok for report in reports}, **environment()}
    summary["seconds_in_all"] = time.perf_counter() - start
    write_json(out / "summary.json", summary)
    console.print("Written:")
    names = ("check.json", "memory/memory.json", "summary.json")
    for path in (*written, *(out / name for name in names)):
        console.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
    trainings = f"  {out}/…/  weights, checkpoints, metrics of each training"
    console.print(trainings, markup=False, highlight=False, soft_wrap=True)

    console.rule("5  both panels on one page")
    site = build_site(out, console, reports=reports)
    for problem in site.problems:
        console.print(problem, style="red", markup=False, highlight=False)
    console.print(f"The study took {time.perf_counter() - start:.0f} s. Open in a browser:")
    console.print(site.index, markup=False, highlight=False, soft_wrap=True)
    checks = [report.ok for report in reports] + [all(t.values()) for t in truths.values()]
    checks += [result["curves_error_100"] <= TRAJECTORY for result in trained.values()]
    return site.ok and all(checks)


def _trainings(out: Path, epochs: int) -> list[Part]:
    """A part for each pair, which trains both panels."""
    calls: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "mlp_vae": (study_images, (out, epochs)),
        "conv_vae": (study_image_model, ("conv_vae", out, max(1, epochs // 12))),
        "vlae": (study_image_model, ("vlae", out, max(1, epochs // 8))),
        "rnn": (study_text, ("rnn", out, max(1, epochs // 50))),
        "lstm": (study_text, ("lstm", out, max(1, epochs // 50))),
    }
    return [Part(TRAINING, name, *call) for name, call in calls.items()]


def _runs(experiment: memory.Experiment) -> list[Part]:
    """A part for each run of the memory experiment."""
    return [
        Part(MEMORY, f"{job.scheme}, seed {job.config.seed}", _run, (job,))
        for job in experiment.jobs
    ]


def _run(job: memory.Job, console: Console) -> dict[str, Any]:
    outcome = memory.train_and_evaluate(job)
    memory.print_outcome(job, outcome, console)
    return outcome


def _remembered(
    experiment: memory.Experiment,
    outcomes: dict[tuple[str, int], dict[str, Any]],
    workers: int,
    out: Path,
    console: Console,
) -> Path:
    """Print and draw the results of the memory experiment; return the figure's file."""
    seconds = sum(outcome["seconds"] for outcome in outcomes.values())
    results = experiment.results(outcomes, seconds, workers)
    console.print(memory.table(results))
    path = out / "figures" / "memory_curves.png"
    figures.save(figures.memory_curves(results), path)
    return path


def _experiments(out: Path) -> list[Part]:
    """A part for each experiment of the laboratory."""
    return [
        Part(THEORY, name, _experiment, (name, out), is_first=name == LONGEST)
        for name in EXPERIMENTS
    ]


def _experiment(name: str, out: Path, console: Console) -> tuple[dict[str, bool], list[Path]]:
    report = run_lab(name, out / "lab", console, seeds=(0, 1), quick=True)
    return dict(report.findings.truths), [f for f in report.files if f.suffix == ".png"]
