"""Part of the study: the convolutional VAE and the VLAE on the embedded digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from diptych import data, figures, pairs
from diptych.runs.config import RunConfig
from diptych.study.trainings import print_errors, train_both
from diptych.tasks import make_task

DATA = {"conv_vae": "digits16", "vlae": "binary_digits"}
FIELDS: dict[str, dict[str, Any]] = {
    "conv_vae": {"base_channels": 8, "latent_dim": 8},
    "vlae": {},  # for images of 8 x 8 the defaults are small
}
RUNS: dict[str, dict[str, Any]] = {
    "conv_vae": {"lr": 2e-3},
    "vlae": {"lr": 2e-3, "optimizer": "adamax", "polyak": 0.998},  # as Chen et al. (2016)
}


def study_image_model(
    model: str, out: Path, epochs: int, console: Console
) -> tuple[dict[str, Any], list[Path]]:
    """Train both panels in float64 and draw figures; return the summary and the files written."""
    dataset = data.load(DATA[model])
    config = RunConfig(
        model=model,
        model_config=vars(pairs.get(model).for_data(dataset, FIELDS[model])).copy(),
        data=DATA[model],
        dtype="float64",
        epochs=epochs,
        batch_size=64,
        log_every=1,
        **RUNS[model],
    )
    trainings = train_both(config, dataset, out / model, console)
    task = make_task(config, dataset)
    panels: dict[str, Any] = {}
    for backend, outcome in trainings.outcomes.items():
        valid = task.validate(outcome.panel)
        panels[backend] = trainings.durations()[backend] | {"valid": valid}
        elbo = -valid["recon"] - valid["kl"]  # the total of a VLAE holds free bits in place of kl
        console.print(
            f"{backend:>6}: {outcome.steps} steps in {outcome.seconds:.1f} s; "
            f"ELBO {elbo:.4f} nats on held-out digits"
        )
    errors = trainings.errors()
    print_errors(model, errors, console)
    curves = trainings.curves(("total", "recon", "kl"))
    pictures = {"curves": figures.loss_curves(curves)}
    pictures |= task.pictures(trainings.outcomes["torch"].panel)
    written = []
    for name, figure in pictures.items():
        written.append(out / "figures" / f"{model}_{name}.png")
        figures.save(figure, written[-1])
    return {"data": dataset.summary, "panels": panels} | errors, written
