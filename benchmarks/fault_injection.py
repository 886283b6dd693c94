"""Damage run folders, start two writers at once, and kill trainings; count what happens.

    python benchmarks/fault_injection.py

writes benchmarks/results/fault_injection.json. The counts of docs/trust.md come from it.

* bit flips: one bit of one file of a finished run is flipped; then the run is evaluated and
  trained on. Each outcome is one of OUTCOMES.
* writers: the same `train`, or the same `train --resume`, is started twice at once.
* cut metrics: metrics.jsonl is cut at ten places before the run is resumed.
* kills: trainings of every model on both panels are killed by SIGKILL at random moments and
  resumed; weights, checkpoint and metrics must be those of a run that was never killed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from run_commands import RUN_FILES, contents, run_here, start

from diptych.runs import results

RESULT = Path(__file__).parent / "results" / "fault_injection.json"
OUTCOMES = ("same result", "refused", "told", "silent other result", "traceback")
"""`refused`: one line that names the file or the folder; `told`: a line of output that the
undamaged run does not print, and a result."""
SMALL = [
    *("train", "mlp_vae", "--backend", "numpy", "--data", "digits", "--set", "hidden_dim=8"),
    *("--set", "latent_dim=2", "--batch-size", "256", "--log-every", "2"),
]
"""A run of which an epoch takes milliseconds."""
TEXT_SIZES = ["hidden_dim=24", "embedding_dim=24", "seq_len=10", "num_layers=1"]
LONG = {
    "mlp_vae": ["--data", "binary_digits", "--epochs", "25", "--batch-size", "32"],
    "conv_vae": [
        *("--data", "digits16", "--epochs", "4", "--batch-size", "64"),
        *("--set", "base_channels=4", "--set", "latent_dim=4"),
    ],
    "vlae": [
        *("--data", "binary_digits", "--epochs", "3", "--batch-size", "64"),
        *("--set", "maps=2", "--set", "hidden_dim=16", "--set", "latent_dim=4"),
        *("--set", "flow_steps=2", "--set", "flow_hidden_dim=16"),
    ],
    "rnn": ["--data", "adding:20", "--epochs", "3", "--batch-size", "16"],
    "lstm": [
        *("--data", "topics", "--epochs", "3", "--batch-size", "20"),
        *(x for size in TEXT_SIZES for x in ("--set", size)),
        *("--set", "scheme=variational", "--set", "rate=0.2"),
    ],
}
"""Options of trainings that take some seconds."""


def flip_bits(folder: Path, flips: int, rng: Random) -> dict[str, Any]:
    """Flip one bit in each of `flips` copies of a run; count the outcomes by file."""
    original = folder / "original"
    run_here([*SMALL, "--epochs", "2", "--out", str(original)])
    at = str(folder / "run")
    commands = {
        "evaluate": ["evaluate", at, "--samples", "5", "--examples", "20"],
        "resume": ["train", "mlp_vae", "--resume", "--epochs", "3", "--out", at],
    }
    written = {"evaluate": ["evaluation.json"], "resume": RUN_FILES[1:]}
    run = folder / "run"
    expected, counts, findings = {}, Counter[str](), []
    for index in range(-1, flips):
        name = RUN_FILES[index % len(RUN_FILES)]
        place = rng.randrange((original / name).stat().st_size), rng.randrange(8)
        for command, arguments in commands.items():
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(original, run)
            if index >= 0:
                data = bytearray((run / name).read_bytes())
                data[place[0]] ^= 1 << place[1]
                (run / name).write_bytes(data)
            result = run_here(arguments)
            # a resumed run replaces the best weights only at a better epoch
            names = [n for n in written[command] if n != name or name != "best.safetensors"]
            part = contents(run, names)
            if index < 0:
                assert result[0] == 0, result[1]
                expected[command] = contents(run)
                continue
            undamaged = {n: expected[command][n] for n in names}
            outcome = _outcome(result, run, name, part, undamaged)
            counts[f"{name}, {command}: {outcome}"] += 1
            if outcome in OUTCOMES[3:]:
                findings.append(
                    f"{name} byte {place[0]} bit {place[1]}, {command}: {result[1][-200:]}"
                )
    totals = Counter({key.rpartition(": ")[2]: 0 for key in counts})
    for key, number in counts.items():
        totals[key.rpartition(": ")[2]] += number
    return {"flips": flips, "outcomes": dict(totals), "by_file": dict(counts), "found": findings}


def _outcome(result: tuple[int, str, bool], run: Path, name: str, part: Any, undamaged: Any) -> str:
    status, text, raised = result
    if raised:
        return "traceback"
    if status:
        named = name in text or str(run) in text
        return "refused" if named and "error:" in text else "traceback"
    if part == undamaged:
        return "same result"
    return "told" if name in text else "silent other result"


def two_writers(folder: Path, times: int, *, resume: bool) -> dict[str, Any]:
    """Start the same training twice at once, `times` times; count the writers."""
    writers, findings = Counter[int](), []
    lines = None
    for index in range(times):
        run = folder / f"{'resume' if resume else 'start'}{index}"
        arguments = [*SMALL, "--epochs", "40", "--out", str(run)]
        if resume:
            run_here([*SMALL, "--epochs", "20", "--out", str(run)])
            arguments = ["train", "mlp_vae", "--resume", "--epochs", "40", "--out", str(run)]
        processes = [start(arguments), start(arguments)]
        outputs = [process.communicate() for process in processes]
        statuses = [process.returncode for process in processes]
        trained = sum(
            s == 0 and "weights, checkpoint" in o[0] for s, o in zip(statuses, outputs, strict=True)
        )
        writers[trained] += 1
        count = len((run / "metrics.jsonl").read_text().splitlines())
        lines = lines or count
        errors = [o[1] for s, o in zip(statuses, outputs, strict=True) if s]
        good = all(len(e.splitlines()) == 1 and str(run) in e for e in errors)
        if trained != 1 or count != lines or not good:
            findings.append(f"{statuses}, {count} lines of metrics: {' '.join(errors)[-300:]}")
    return {"times": times, "writers": dict(writers), "found": findings}


def cut_metrics(folder: Path, rng: Random) -> dict[str, Any]:
    """Cut metrics.jsonl at ten places and resume; count the outcomes."""
    original = folder / "original"
    run_here([*SMALL, "--epochs", "4", "--out", str(original)])
    size = (original / "metrics.jsonl").stat().st_size
    counts, findings = Counter[str](), []
    for index in range(10):
        run = folder / f"cut{index}"
        shutil.copytree(original, run)
        place = size * (index + 1) // 11 + rng.randrange(3)
        os.truncate(run / "metrics.jsonl", place)
        status, text, raised = run_here(
            ["train", "mlp_vae", "--resume", "--epochs", "5", "--out", str(run)]
        )
        told = "metrics.jsonl" in text
        outcome = "traceback" if raised else "refused" if status else "told" if told else "silent"
        counts[outcome] += 1
        if outcome not in ("refused", "told"):
            findings.append(f"cut at {place}: {text[-300:]}")
    return {"cuts": 10, "outcomes": dict(counts), "found": findings}


def kill_and_resume(folder: Path, kills: int, rng: Random) -> dict[str, Any]:
    """Kill each training `kills` times and resume it; compare with one that was not killed."""
    landed, equal, findings = Counter[str](), Counter[str](), []
    for model, options in LONG.items():
        for backend in ("numpy", "torch"):
            base = ["train", model, "--backend", backend, *options]
            base += ["--checkpoint-every", "3", "--log-every", "1"]
            whole, run = (folder / f"{model}-{backend}-{kind}" for kind in ("whole", "killed"))
            begin = time.monotonic()
            first = start([*base, "--out", str(whole)])
            assert first.wait() == 0, first.communicate()
            seconds = time.monotonic() - begin
            while landed[f"{model}, {backend}"] < kills:
                if _kill(base, run, rng, seconds):
                    landed[f"{model}, {backend}"] += 1
                else:  # it was finished first: begin again
                    shutil.rmtree(run)
            last = start([*base, *_resume_option(run), "--out", str(run)])
            output = last.communicate()
            same = last.returncode == 0 and contents(whole) == contents(run)
            equal[f"{model}, {backend}"] += same
            if not same:
                findings.append(f"{model}, {backend}: {' '.join(output)[-300:]}")
            print(f"{model} {backend}: {'equal' if same else 'DIFFERENT'}", flush=True)
    return {
        "kills": sum(landed.values()),
        "equal_runs": sum(equal.values()),
        "runs": len(equal),
        "kills_by_run": dict(landed),
        "found": findings,
    }


def _resume_option(run: Path) -> list[str]:
    return ["--resume"] if (run / "run.json").exists() else []


def _kill(base: list[str], run: Path, rng: Random, seconds: float) -> bool:
    """Start or resume the training and kill it while it trains; return True if it was killed."""
    lines = _size(run / "metrics.jsonl")
    process = start([*base, *_resume_option(run), "--out", str(run)])
    while process.poll() is None and _size(run / "metrics.jsonl") <= lines:
        time.sleep(0.01)
    time.sleep(rng.random() * seconds / 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Damage run folders and kill trainings.")
    parser.add_argument("--out", type=Path, default=RESULT, help="The result, a JSON file.")
    parser.add_argument("--flips", type=int, default=300, help="Number of flipped bits.")
    parser.add_argument("--starts", type=int, default=20, help="Number of concurrent starts.")
    parser.add_argument("--kills", type=int, default=5, help="Kills of each model and panel.")
    parser.add_argument("--seed", type=int, default=16, help="Random seed.")
    parser.add_argument("parts", nargs="*", help="Parts to repeat; the others keep their result.")
    options = parser.parse_args()
    rng, begin = Random(options.seed), time.monotonic()
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "bit_flips": lambda at: flip_bits(at, options.flips, rng),
        "cut_metrics": lambda at: cut_metrics(at, rng),
        "concurrent_starts": lambda at: two_writers(at, options.starts, resume=False),
        "concurrent_resumes": lambda at: two_writers(at, options.starts, resume=True),
        "kills": lambda at: kill_and_resume(at, options.kills, rng),
    }
    metrics = results.read(options.out)["metrics"] if options.parts else {}
    with tempfile.TemporaryDirectory() as name:
        for key in options.parts or parts:
            (Path(name) / key).mkdir()
            metrics[key] = parts[key](Path(name) / key)
            print(key, json.dumps(metrics[key], indent=1), flush=True)
    results.write(
        options.out,
        name="fault_injection",
        command="python benchmarks/fault_injection.py",
        seed=options.seed,
        data="embedded digits and text",
        device="cpu",
        time_s=time.monotonic() - begin,
        metrics=metrics,
    )
    sys.exit(any(part["found"] for part in metrics.values()))


if __name__ == "__main__":
    main()
