"""Compare dropout schemes on an LSTM that is far too large for its text.

    python benchmarks/regularisation.py

trains each model in runs/regularisation (some minutes on 2 cores), and writes the recorded result
to benchmarks/results and the figure to docs. The text is embedded in Python: no download is needed.
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
    by_scheme: dict[str, Any] = {}
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
        by_scheme[scheme] = {
            "rate": rate,
            "seconds": outcome.seconds,
            "epoch": [1 + line["epoch"] for line in lines],
            "train": [math.exp(line["train"]["nll"]) for line in lines],
            "valid": [line["valid"]["perplexity"] for line in lines],
        }
    curves = {
        scheme: {name: run[name] for name in ("epoch", "train", "valid")}
        for scheme, run in by_scheme.items()
    }
    figures.save(figures.perplexity_curves(curves), HERE.parent / "docs/regularisation.png")
    results.write(
        HERE / "results" / "lstm_regularisation.json",
        name="lstm_regularisation",
        command="python benchmarks/regularisation.py",
        seed=config.seed,
        data=corpus.summary,
        device=config.device,
        time_s=sum(run["seconds"] for run in by_scheme.values()),
        metrics={
            "best_valid_perplexity": {
                scheme: min(run["valid"]) for scheme, run in by_scheme.items()
            },
            "curves": by_scheme,
            "model": FIELDS,
            "run": RUN | {"schedule": config.schedule},
        },
    )


if __name__ == "__main__":
    main()
