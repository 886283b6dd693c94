"""Part of the study: the convolutional VAE on the enlarged embedded digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from diptych import data, figures, pairs
from diptych.runs.config import RunConfig
from diptych.study.trainings import print_errors, train_both
from diptych.tasks import make_task


def study_convolution(
    out: Path, epochs: int, console: Console
) -> tuple[dict[str, Any], list[Path]]:
    """Train both panels in float64 and draw figures; return the summary and the files written."""
    dataset = data.load("digits16")
    fields = {"base_channels": 8, "latent_dim": 8}
    config = RunConfig(
        model="conv_vae",
        model_config=vars(pairs.get("conv_vae").for_data(dataset, fields)).copy(),
        data="digits16",
        dtype="float64",
        epochs=epochs,
        batch_size=64,
        lr=2e-3,
        log_every=1,
    )
    trainings = train_both(config, dataset, out / "conv_vae", console)
    task = make_task(config, dataset)
    panels: dict[str, Any] = {}
    for backend, outcome in trainings.outcomes.items():
        valid = task.validate(outcome.panel)
        panels[backend] = trainings.durations()[backend] | {"valid": valid}
        console.print(
            f"{backend:>6}: {outcome.steps} steps in {outcome.seconds:.1f} s; "
            f"ELBO {-valid['total']:.4f} nats on held-out digits"
        )
    errors = trainings.errors()
    print_errors("conv_vae", errors, console)
    curves = trainings.curves(("total", "recon", "kl"))
    pictures = {"curves": figures.loss_curves(curves)}
    pictures |= task.pictures(trainings.outcomes["torch"].panel)
    written = []
    for name, figure in pictures.items():
        written.append(out / "figures" / f"conv_vae_{name}.png")
        figures.save(figure, written[-1])
    return {"data": dataset.summary, "panels": panels} | errors, written
