"""Measure this project on one GPU: parity, times and short trainings, in one folder.

    benchmarks/gpu_report.sh DIR                 # under 9 minutes on one GPU, without a network
    benchmarks/gpu_report.sh DIR --device cpu    # the same steps at small sizes, without a GPU

Each step is a command of the project in a process of its own, with a time limit of its own. A step
that fails does not stop the others; report.json then says so, and the exit status is 1.
`python -m diptych.runs.results --gpu DIR` puts the folder's numbers on the results pages.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from diptych import data, figures
from diptych.files import read_json, write_json
from diptych.runs import results
from diptych.runs.environment import device_name
from diptych.runs.folder import RunFolder

ROOT = Path(__file__).parents[1]
DTYPES = ("float64", "float32")
MODELS = ("mlp_vae", "conv_vae", "vlae", "rnn", "lstm")


@dataclass(frozen=True)
class Step:
    """A command of the report. `outcome` reads the numbers that the command has written."""

    name: str
    arguments: Sequence[str]
    limit: float  # seconds
    outcome: Callable[[], dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure this project on one GPU.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="Folder of the report.")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to rehearse. [cuda]")
    parser.add_argument("--only", nargs="*", help="Names of the steps to run. [all]")
    options = parser.parse_args()
    folder: Path = options.folder.absolute()
    check_folder(parser, folder)
    check_device(parser, options.device)
    steps = all_steps(folder, options.device)
    names = [step.name for step in steps]
    if unknown := [name for name in options.only or () if name not in names]:
        parser.error(f"only: got {', '.join(unknown)}, takes {', '.join(names)}")
    start = time.perf_counter()
    outcomes = {
        step.name: run(step, folder)
        for step in steps
        if not options.only or step.name in options.only
    }
    draw(folder, outcomes)
    results.write(
        folder / "report.json",
        name="gpu_report",
        command=shlex.join(["benchmarks/gpu_report.sh", *sys.argv[1:]]),
        seed=0,
        data=data_of(options.device)[0],
        device=device_name(options.device),
        time_s=time.perf_counter() - start,
        metrics={"gpu_report": outcomes, "rehearsal": options.device == "cpu"},
    )
    failures = [name for name, outcome in outcomes.items() if outcome["status"] != 0]
    print(f"{len(outcomes)} steps, {time.perf_counter() - start:.0f} s, report in {folder}")
    if failures:
        print(f"failed: {', '.join(failures)} (see their .log files)", file=sys.stderr)
    return 1 if failures else 0


def check_folder(parser: argparse.ArgumentParser, folder: Path) -> None:
    """End with an error unless `folder` is new or empty, so that no old file looks new."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        parser.error(f"DIR: got {folder}, takes a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)


def check_device(parser: argparse.ArgumentParser, device: str) -> None:
    """End with an error unless the device is cpu, or a CUDA device of this machine."""
    if device != "cpu" and not device.startswith("cuda"):
        parser.error(f"device: got {device!r}, takes cuda, cuda:N or cpu")
    try:
        device_name(device)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        parser.error(f"device: got {device!r}, which this machine does not have ({reason})")


def all_steps(folder: Path, device: str) -> list[Step]:
    """Return the steps of a report, or those of its rehearsal on the CPU."""
    rehearsal = device == "cpu"
    return [
        *(parity(folder, device, dtype, rehearsal) for dtype in DTYPES),
        speed(folder, device, rehearsal),
        *trainings(folder, device, rehearsal),
    ]


def parity(folder: Path, device: str, dtype: str, rehearsal: bool) -> Step:
    """Compare every pair and variant on the device; in a rehearsal, the five models alone."""
    file = folder / f"check_{dtype}.json"
    pairs = [f"{model}[square]" for model in MODELS] if rehearsal else []
    arguments = ["check", *pairs, "--device", device, "--dtype", dtype, "--json", str(file)]

    def outcome() -> dict[str, Any]:
        pairs = read_json(file)["pairs"]
        worst = max((pair["worst"]["error"] for pair in pairs if pair["worst"]), default=0.0)
        diverged = [pair["name"] for pair in pairs if not pair["ok"]]
        return {"pairs": len(pairs), "diverged": diverged, "worst_error": worst}

    return Step(f"check_{dtype}", arguments, 120, outcome)


def speed(folder: Path, device: str, rehearsal: bool) -> Step:
    """Time a training step of every model on every backend; in a rehearsal, of the smallest one."""
    file, page = folder / "speed.json", folder / "bench"
    quick = ["mlp_vae", "--sizes", "4", "--rounds", "3"] if rehearsal else []
    device_options = [] if rehearsal else ["--device", device]
    arguments = ["bench", *quick, "--quick", *device_options]
    arguments += ["--json", str(file), "--out", str(page)]
    return Step("speed", arguments, 240, lambda: {"file": file.name})


def data_of(device: str) -> tuple[str, str, str]:
    """Return the data sets of the three trainings: real ones where their files are at hand."""
    if device == "cpu":
        return "digits16", "binary_digits16", "topics"
    names = ("mnist", "digits"), ("static_mnist", "binary_digits"), ("ptb", "topics")
    images, binary, text = (real if is_at_hand(real) else other for real, other in names)
    return images, binary, text


def is_at_hand(name: str) -> bool:
    """True if the files of a data set are in the folder that DIPTYCH_DATA names."""
    try:
        data.load(name, None)
    except ValueError:
        return False
    return True


def trainings(folder: Path, device: str, rehearsal: bool) -> list[Step]:
    """Return 50 epochs of the MLP VAE, and short trainings of the VLAE and of the LSTM."""
    images, binary, text = data_of(device)
    narrow = ["--set", "decoder_maps=4", "--set", "context_maps=2"] if rehearsal else []
    epochs = "2" if rehearsal else "50"
    small = ["--set", "hidden_dim=16", "--set", "embedding_dim=16"] if rehearsal else []
    preset = "zaremba-small" if rehearsal else "zaremba-medium"
    vlae_preset = "vlae-digits" if binary.startswith("binary_digits") else "vlae-mnist"
    commands = {
        "mlp_vae": ["mlp_vae", "--data", images, "--epochs", epochs, "--batch-size", "128"],
        "vlae": ["vlae", "--preset", vlae_preset, "--data", binary, "--epochs", "1", *narrow],
        "lstm": ["lstm", "--preset", preset, "--data", text, "--epochs", "1", *small],
    }
    return [
        training(folder, f"train_{model}", [*arguments, "--device", device])
        for model, arguments in commands.items()
    ]


def training(folder: Path, name: str, arguments: list[str]) -> Step:
    """Train a model; its outcome has the losses of each epoch and the seconds of training."""
    run_folder = folder / name
    arguments = ["train", *arguments, "--checkpoint-every", "1000000", "--out", str(run_folder)]

    def outcome() -> dict[str, Any]:
        run = RunFolder(run_folder)
        epochs = run.history().epochs
        return {
            "settings": {"model": run.config().model, "data": run.config().data},
            "epochs": len(epochs),
            "steps": epochs[-1]["step"],
            "training_s": epochs[-1]["seconds"],
            "valid": [next(iter(epoch["valid"].items())) for epoch in epochs],
            "epoch_seconds": [epoch["seconds"] for epoch in epochs],
        }

    return Step(name, arguments, 100, outcome)


def run(step: Step, folder: Path) -> dict[str, Any]:
    """Run a step; return its command, status, seconds, and the numbers that it has written."""
    print(f"{step.name}: diptych {shlex.join(step.arguments)}", flush=True)
    start = time.perf_counter()
    with (folder / f"{step.name}.log").open("wb") as log:
        try:
            status: int | str = subprocess.run(
                [sys.executable, "-m", "diptych", *step.arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=step.limit,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"stopped after {step.limit:g} s"
    seconds = time.perf_counter() - start
    print(f"{step.name}: status {status}, {seconds:.1f} s", flush=True)
    command = shlex.join(["diptych", *step.arguments])
    outcome: dict[str, Any] = {"command": command, "status": status, "seconds": seconds}
    try:
        outcome |= step.outcome()
    except (ValueError, OSError, LookupError) as error:
        outcome["error"] = str(error)
        outcome["status"] = outcome["status"] or "wrote no outcome"
    write_json(folder / f"{step.name}.outcome.json", outcome)
    return outcome


def draw(folder: Path, outcomes: dict[str, dict[str, Any]]) -> None:
    """Draw the validation loss of each training against the seconds of training."""
    runs = {name: outcome for name, outcome in outcomes.items() if "training_s" in outcome}
    if not runs:
        return
    figure = Figure(figsize=(4 * len(runs), 3), layout="constrained")
    axes = figure.subplots(1, len(runs), squeeze=False)[0]
    for axis, (name, outcome) in zip(axes, runs.items(), strict=True):
        losses = [value for _, value in outcome["valid"]]
        axis.plot(outcome["epoch_seconds"], losses, color=figures.RIGHT, marker="o", markersize=3)
        figures.style(axis, "seconds of training", f"validation {outcome['valid'][0][0]}")
        title = f"{name.removeprefix('train_')}, {outcome['settings']['data']}"
        axis.set_title(title, loc="left", fontsize=10, fontweight="bold", color=figures.INK)
    figures.save(figure, folder / "trainings.png")


if __name__ == "__main__":
    sys.exit(main())
