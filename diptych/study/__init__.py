"""The study (`make study`): check the pairs, train both panels, run experiments, draw figures."""

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
from diptych.study.convolution import study_convolution
from diptych.study.images import study_images
from diptych.study.memory import memory_experiment
from diptych.study.memory import table as memory_table
from diptych.study.text import study_text
from diptych.study.trainings import TRAJECTORY


def study(out: Path, epochs: int, console: Console) -> bool:
    """Run the study, write its files to `out`; return True if all comparisons agree.

    Both panels train in float64 from the same key, so with the same weights, batches and noise, and
    their curves differ only by rounding. `epochs` are those of the MLP VAE; the convolutional VAE
    takes a twelfth of them, the recurrent models a fiftieth, and the memory experiment a sixteenth,
    of 100 steps each.
    """
    start = time.perf_counter()
    console.rule("1  the two panels compute the same")
    reports = check_pairs(None, "float64", "cpu", console, out / "check.json")

    console.rule("2  the two panels learn the same")
    trained: dict[str, dict[str, Any]] = {}
    trained["mlp_vae"], written = study_images(out, epochs, console)
    trained["conv_vae"], files = study_convolution(out, max(1, epochs // 12), console)
    written += files
    for model in ("rnn", "lstm"):
        trained[model], files = study_text(model, out, max(1, epochs // 50), console)
        written += files

    console.rule("3  dropout and memory")
    memory = memory_experiment(
        out / "memory", epochs=max(1, epochs // 16), restart=True, console=console
    )
    console.print(memory_table(memory))
    written.append(out / "figures" / "memory_curves.png")
    figures.save(figures.memory_curves(memory), written[-1])

    console.rule("4  the theory of the VAE")
    labs = [run_lab(name, out / "lab", console, seeds=(0, 1), quick=True) for name in EXPERIMENTS]
    written += [file for lab in labs for file in lab.files if file.suffix == ".png"]

    summary: dict[str, Any] = {"trained": trained}
    summary["lab"] = {lab.name: dict(lab.findings.truths) for lab in labs}
    summary["memory"] = {name: result["accuracy"] for name, result in memory["schemes"].items()}
    summary |= {"parity": {report.name: report.ok for report in reports}, **environment()}
    summary["seconds_in_all"] = time.perf_counter() - start
    write_json(out / "summary.json", summary)
    console.print(f"The study took {summary['seconds_in_all']:.0f} s. Written:")
    for path in [
        *written,
        *(out / name for name in ("check.json", "memory/memory.json", "summary.json")),
    ]:
        console.print(f"  {path}", highlight=False)
    console.print(f"  {out}/…/  weights, checkpoints, metrics of each training", highlight=False)
    checks = [report.ok for report in reports] + [lab.ok for lab in labs]
    checks += [result["curves_error_100"] <= TRAJECTORY for result in trained.values()]
    return all(checks)
