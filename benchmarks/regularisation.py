"""Compare dropout schemes on an LSTM that is far too large for its text.

    python benchmarks/regularisation.py         # topics: 15 min on 2 cores
    python benchmarks/regularisation.py ptb     # about 6 h on 1 core, needs ptb

trains each model in runs/regularisation, and writes the recorded result to benchmarks/results and
the figure to docs. The topics are embedded in Python: they need no download. On ptb Zaremba's masks
of each step and Gal & Ghahramani's of the whole sequence have one size and one rate; Zaremba's are
on inputs and outputs, Gal & Ghahramani's on the recurrent connections as well.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from diptych import data, figures
from diptych.runs import results
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder
from diptych.training.presets import settings
from diptych.training.train import train

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "regularisation"


class Experiment(NamedTuple):
    """The schemes that are compared on one text, for how long, and the names of the results."""

    record: str
    figure: str
    epochs: int
    rates: dict[str, float]


EXPERIMENTS = {
    "topics": Experiment(
        "lstm_regularisation",
        "regularisation",
        15,
        {"none": 0.0, "per_step": 0.5, "variational": 0.5},
    ),
    "ptb": Experiment(
        "lstm_schemes_ptb",
        "lstm_schemes_ptb",
        10,
        {"none": 0.0, "per_step": 0.4, "variational_recurrent": 0.4},
    ),
}
FIELDS = {"embedding_dim": 300, "hidden_dim": 300, "num_layers": 2, "seq_len": 35}
RUN = {"backend": "torch", "batch_size": 20, "lr": 2e-3, "clip": 5.0}
SCHEDULE = "cosine"


def run_scheme(name: str, corpus: data.Corpus, scheme: str, console: Console) -> dict[str, Any]:
    """Train with one scheme, or go on with its run; its perplexities after each epoch."""
    experiment = EXPERIMENTS[name]
    rate = experiment.rates[scheme]
    fields = FIELDS | {"scheme": scheme, "rate": rate}
    config = settings("lstm", name, corpus, None, fields, RUN | {"epochs": experiment.epochs})
    config = replace(config, schedule=SCHEDULE)
    path = RUNS / scheme if name == "topics" else RUNS / name / scheme
    resume = RunFolder(path).settings_file.exists()
    outcome = train(config, corpus, path, resume=resume, console=console)
    if outcome.interrupted:
        raise KeyboardInterrupt
    lines = [line for line in outcome.folder.metrics if line["kind"] == "epoch"]
    return {
        "rate": rate,
        "seconds": outcome.seconds,
        "epoch": [1 + line["epoch"] for line in lines],
        "train": [math.exp(line["train"]["nll"]) for line in lines],
        "valid": [line["valid"]["perplexity"] for line in lines],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare dropout schemes on a large LSTM.")
    parser.add_argument("data", nargs="?", default="topics", choices=EXPERIMENTS, help="The text.")
    name = parser.parse_args().data
    experiment, console = EXPERIMENTS[name], Console()
    corpus = data.load(name)
    assert isinstance(corpus, data.Corpus)
    by_scheme = {scheme: run_scheme(name, corpus, scheme, console) for scheme in experiment.rates}
    curves = {
        scheme: {name: run[name] for name in ("epoch", "train", "valid")}
        for scheme, run in by_scheme.items()
    }
    figures.save(
        figures.perplexity_curves(curves), HERE.parent / "docs" / f"{experiment.figure}.png"
    )
    results.write(
        HERE / "results" / f"{experiment.record}.json",
        name=experiment.record,
        command="python benchmarks/regularisation.py" + (f" {name}" if name != "topics" else ""),
        seed=RunConfig.seed,
        data=corpus.summary,
        device=RunConfig.device,
        time_s=sum(run["seconds"] for run in by_scheme.values()),
        metrics={
            "best_valid_perplexity": {
                scheme: min(run["valid"]) for scheme, run in by_scheme.items()
            },
            "curves": by_scheme,
            "model": FIELDS,
            "run": RUN | {"epochs": experiment.epochs, "schedule": SCHEDULE},
        },
    )


if __name__ == "__main__":
    main()
