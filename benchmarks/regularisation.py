"""Does dropout regularise?   An LSTM far too large for its text, with and without.

    python benchmarks/regularisation.py

trains each in runs/regularisation (some minutes on 2 cores), and writes the result beside this file
and the figure for the README. The text ships with Python: no network, no download.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych import data, figures
from diptych.runs import results
from diptych.runs.folder import RunFolder
from diptych.training.presets import settings
from diptych.training.train import train

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "regularisation"
DATA = "topics"
RATES = {"none": 0.0, "per_step": 0.5, "variational": 0.5}
FIELDS = {"embedding_dim": 300, "hidden_dim": 300, "num_layers": 2, "seq_len": 35}
RUN = {"backend": "torch", "epochs": 15, "batch_size": 20, "lr": 2e-3, "clip": 5.0}


def main() -> None:
    console = Console()
    corpus = data.load(DATA)
    assert isinstance(corpus, data.Corpus)
    result: dict[str, Any] = {}
    for scheme, rate in RATES.items():
        config = settings(
            "lstm", DATA, corpus, None, FIELDS | {"scheme": scheme, "rate": rate}, RUN
        )
        config = replace(config, schedule="cosine")
        path = RUNS / scheme
        outcome = train(
            config, corpus, path, resume=RunFolder(path).settings_file.exists(), console=console
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        lines = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
        result[scheme] = {
            "rate": rate,
            "seconds": outcome.seconds,
            "epoch": [1 + line["epoch"] for line in lines],
            "train": [math.exp(line["train"]["nll"]) for line in lines],
            "valid": [line["valid"]["perplexity"] for line in lines],
        }
    curves = {
        scheme: {name: run[name] for name in ("epoch", "train", "valid")}
        for scheme, run in result.items()
    }
    figures.save(figures.perplexity_curves(curves), HERE.parent / "docs/regularisation.png")
    results.write(
        HERE / "results" / "lstm_regularisation.json",
        name="lstm_regularisation",
        command="python benchmarks/regularisation.py",
        seed=config.seed,
        data=corpus.summary,
        device=config.device,
        time_s=sum(run["seconds"] for run in result.values()),
        metrics={
            "best_valid_perplexity": {scheme: min(run["valid"]) for scheme, run in result.items()},
            "curves": result,
            "model": FIELDS,
            "run": RUN | {"schedule": config.schedule},
        },
    )


if __name__ == "__main__":
    main()
