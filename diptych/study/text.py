"""Part of the study: the RNN and the LSTM on embedded data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from diptych import data, figures, pairs
from diptych.runs.config import RunConfig
from diptych.study.trainings import print_errors, train_both
from diptych.tasks import Options, make_task

FIELDS: dict[str, dict[str, Any]] = {
    "rnn": {"hidden_dim": 64, "seq_len": 32, "scheme": "variational", "rate": 0.1},
    "lstm": {
        "embedding_dim": 64,
        "hidden_dim": 64,
        "seq_len": 20,
        "scheme": "per_step",
        "rate": 0.2,
    },
}
RUNS: dict[str, dict[str, Any]] = {
    "rnn": {"batch_size": 32, "lr": 5e-3, "clip": 1.0},
    # Adam, not the paper's SGD with a learning rate of 1, which is so close to instability that
    # rounding errors grow from 1e-16 to 1e-10 within 100 steps
    "lstm": {"batch_size": 20, "lr": 5e-3, "clip": 5.0},
}

ERRORS = {"rnn": "error", "lstm": "nll"}
"""The loss term that is drawn for each model."""
TOKENS = {"rnn": 60, "lstm": 12}
"""The number of characters or words that each model writes."""


def study_text(
    model: str, out: Path, epochs: int, console: Console
) -> tuple[dict[str, Any], list[Path]]:
    """Train both panels of a recurrent model in float64; return the summary and the files."""
    pair = pairs.get(model)
    corpus = data.load(pair.data)
    config = RunConfig(
        model=model,
        model_config=vars(pair.for_data(corpus, FIELDS[model])).copy(),
        data=pair.data,
        dtype="float64",
        epochs=epochs,
        log_every=1,
        **RUNS[model],
    )
    trainings = train_both(config, corpus, out / model, console)
    task = make_task(config, corpus)
    panels: dict[str, Any] = {}
    for backend, outcome in trainings.outcomes.items():
        valid = task.validate(outcome.panel)
        panels[backend] = trainings.durations()[backend] | {"valid": valid}
        console.print(
            f"{backend:>6}: {outcome.steps} steps in {outcome.seconds:.1f} s; perplexity "
            f"{valid['perplexity']:.3f} a {task.unit.removesuffix('s')} on held-out text"
        )
    errors = trainings.errors()
    print_errors(model, errors, console)
    panel = trainings.outcomes["torch"].panel
    sample = " ".join(task.sample(panel, out, Options(console, count=TOKENS[model])).split())
    console.print(f'{model} writes: "{sample}"', markup=False)
    figure = out / "figures" / f"{model}_curves.png"
    curves = trainings.curves((ERRORS[model],))
    figures.save(figures.loss_curves(curves, f"nats per {task.unit.removesuffix('s')}"), figure)
    summary = {"data": corpus.summary, "panels": panels, "writes": sample}
    return summary | errors, [figure]
