"""Run the memory experiment at full length: five dropout schemes in the tanh RNN and in the LSTM.

    python benchmarks/memory.py

trains 30 networks in runs/memory (some minutes on 2 cores), and writes the recorded result to
benchmarks/results and the figures to docs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from diptych import figures
from diptych.runs import results
from diptych.study.memory import memory_experiment, table

HERE = Path(__file__).parent
DATA = "copy:100:1"
MODELS = ("rnn", "lstm")


def main() -> None:
    console = Console()
    by_model: dict[str, Any] = {}
    for model in MODELS:
        folder = HERE.parent / "runs" / "memory" / model
        by_model[model] = memory_experiment(folder, model=model, data=DATA, console=console)
        console.print(table(by_model[model]))
        figure = HERE.parent / "docs" / f"memory_{model}.png"
        figures.save(figures.memory_curves(by_model[model]), figure)
    results.write(
        HERE / "results" / "copy_memory.json",
        name="copy_memory",
        command="python benchmarks/memory.py",
        seed=by_model["rnn"]["settings"]["seeds"],
        data=DATA,
        device="cpu",
        time_s=sum(
            sum(scheme["seconds"])
            for result in by_model.values()
            for scheme in result["schemes"].values()
        ),
        metrics={"memory": by_model},
    )


if __name__ == "__main__":
    main()
