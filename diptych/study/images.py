"""Part of the study: the MLP VAE on the embedded digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from diptych import data, figures, pairs
from diptych.arrays import to_numpy
from diptych.data import Dataset
from diptych.evaluation import latents
from diptych.evaluation.elbo import elbo_terms
from diptych.evaluation.importance import importance_weighted
from diptych.panels import Panel
from diptych.runs.config import RunConfig
from diptych.study.trainings import Trainings, print_errors, train_both
from model_specs.common.key import Key

EVALUATION = Key(0).fold_in("study")


def study_images(out: Path, epochs: int, console: Console) -> tuple[dict[str, Any], list[Path]]:
    """Train and evaluate both panels, draw figures; return the summary and the files written."""
    dataset = data.load("digits")
    assert isinstance(dataset, Dataset)
    config = RunConfig(
        model="mlp_vae",
        model_config=vars(pairs.get("mlp_vae").for_data(dataset, {"hidden_dim": 128})).copy(),
        data="digits",
        dtype="float64",
        epochs=epochs,
        batch_size=64,
        lr=2e-3,
        log_every=1,
    )
    trainings = train_both(config, dataset, out, console)
    panels = {}
    for backend, outcome in trainings.outcomes.items():
        x = dataset.test.x
        result = importance_weighted(outcome.panel, x, EVALUATION, samples=128)
        test = elbo_terms(outcome.panel, x, EVALUATION) | {"nll": result.nll}
        panels[backend] = trainings.durations()[backend] | {"test": test}
        console.print(
            f"{backend:>6}: {outcome.steps} steps in {outcome.seconds:.1f} s; on the test digits "
            f"ELBO {-test['total']:.4f}, log p(x) {-test['nll']:.4f} nats"
        )
    errors = trainings.errors()
    print_errors("mlp_vae", errors, console)
    summary = {"data": dataset.summary, "panels": panels} | errors
    return summary, _draw(trainings, dataset, out / "figures", console)


def _draw(trainings: Trainings, dataset: Dataset, folder: Path, console: Console) -> list[Path]:
    panel = trainings.outcomes["torch"].panel
    height, width = dataset.image_shape[-2:]
    x, labels = dataset.test.x, dataset.test.y
    assert labels is not None
    originals, z = x[:16], latents.quantile_grid(18)

    def framed(images: np.ndarray) -> np.ndarray:
        """Add a margin of one black pixel, because digits fill their 8 x 8 pixels."""
        return np.pad(images.reshape(-1, height, width), ((0, 0), (1, 1), (1, 1)))

    pictures = {
        "loss_curves": lambda: figures.loss_curves(trainings.curves(("total", "recon", "kl"))),
        "samples": lambda: figures.image_grid(
            framed(to_numpy(panel.model.sample(EVALUATION, 64, mean=True))), 16
        ),
        "reconstructions": lambda: figures.reconstructions(
            framed(originals),
            framed(to_numpy(panel.model.reconstruct(panel.array(originals)))),
        ),
        "latent_scatter": lambda: figures.latent_scatter(_codes(panel, x), labels),
        "latent_manifold": lambda: figures.latent_manifold(
            _decode(trainings.outcomes["numpy"].panel, z).reshape(*z.shape[:2], height, width),
            latents.QUANTILES,
        ),
    }
    written = []
    with console.status("drawing") as status:
        for name, draw in pictures.items():
            status.update(Text(f"drawing {name}"))
            written.append(folder / f"{name}.png")
            figures.save(draw(), written[-1])
    return written


def _codes(panel: Panel, x: np.ndarray) -> np.ndarray:
    return to_numpy(panel.model.encode(panel.array(x)).mu)


def _decode(panel: Panel, z: np.ndarray) -> np.ndarray:
    logits, _ = panel.model.decode(panel.array(z))
    return panel.model.likelihood.mean(logits)
