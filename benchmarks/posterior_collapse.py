"""Show posterior collapse: a VLAE with a code that its decoder does not use.

    python benchmarks/posterior_collapse.py

trains four VLAEs with a Gaussian z on the embedded digits (5 minutes in all), and writes the
recorded result to benchmarks/results and the figure to docs. Two have a PixelCNN, two a factorised
decoder, which sees no pixel; one of each has free bits. An interrupted run resumes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from window_runs import sizes_of, train_and_judge

from diptych import data, figures
from diptych.arrays import to_numpy
from diptych.data import Dataset
from diptych.lab.pictures import show_mosaic
from diptych.lab.windows import subset
from diptych.panels import Panel
from diptych.runs import results
from diptych.runs.folder import RunFolder
from diptych.tasks import Options
from diptych.training.presets import PRESETS
from model_specs.common.key import Key

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "posterior_collapse"
PRESET = "vlae-digits-gaussian"
OPTIONS = {"lr": 0.004, "polyak": 0.98, "epochs": 60}
SAMPLES, SHOWN = 64, 12
MODELS: dict[str, dict[str, Any]] = {
    "raster": {"free_bits_of": "none"},
    "raster, free bits": {"free_bits": 0.1},
    "factorised": {"context": "none", "free_bits_of": "none"},
    "factorised, free bits": {"context": "none", "free_bits": 0.1},
}
"""The fields of each model that differ from the preset's; 0.1 nats a pixel are 6.4 nats in all."""
MEASURES = ("nll", "nll_standard_error", "least_effective_samples", "elbo", "kl", "rmse")
MEASURES += ("pixels", "seconds")


def main() -> None:
    console, images = Console(), data.load(PRESETS[PRESET].data)
    evaluation = Options(console, samples=SAMPLES, memory_mb=256)
    models: dict[str, Any] = {}
    pictures = {"original": shown(images)}
    for name, fields in MODELS.items():
        console.print(name)
        folder = RUNS / name.replace(", ", "-").replace(" ", "-")
        measures, panel = train_and_judge(
            images, PRESET, fields, OPTIONS, folder, evaluation, console
        )
        epochs = RunFolder(folder).history().epochs
        models[name] = {key: measures[key] for key in MEASURES}
        models[name] |= {"kl_in_training": [line["train"]["kl"] for line in epochs]}
        models[name] |= {"free_nats": panel.model.config.free_nats if "free_bits" in fields else 0}
        pictures[name] = reconstructions(panel, images)
    figures.save(draw(models, pictures), HERE.parent / "docs" / "posterior_collapse.png")
    results.write(
        HERE / "results" / "vlae_posterior_collapse.json",
        name="vlae_posterior_collapse",
        command="python benchmarks/posterior_collapse.py",
        seed=0,
        data=sizes_of(images),
        device="cpu",
        time_s=sum(model["seconds"] for model in models.values()),
        metrics={"collapse": models, "epochs": OPTIONS["epochs"], "samples": SAMPLES},
    )


def shown(images: Dataset) -> np.ndarray:
    """The test images of the figure.   -> (SHOWN, 1, H, W)"""
    return images.test.x[subset(images, "test")[:SHOWN]].reshape(-1, *images.image_shape)


def reconstructions(panel: Panel, images: Dataset) -> np.ndarray:
    """Draw x' ~ p(x'|z) at z = mu(x) for the images of the figure.   -> (SHOWN, 1, H, W)"""
    with panel.evaluating():
        return to_numpy(panel.model.reconstruct(panel.array(shown(images)), Key(0)))


def draw(models: dict[str, Any], pictures: dict[str, np.ndarray]) -> Figure:
    """Plot the KL of each training epoch, and show reconstructions beside, a row for each model.

    Shapes: pictures[name] (N, 1, H, W).
    """
    figure = Figure((9.2, 3.4), dpi=figures.DPI, facecolor="white", layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.35))
    axis = figures.style(left.subplots(), "epoch", "KL of the training images, nats")
    for (name, model), (mark, color) in zip(models.items(), figures.TERMS.items(), strict=False):
        kl = model["kl_in_training"]
        look = {"marker": mark, "markevery": 10, "color": color, "ms": 4, "lw": 1.3}
        axis.plot(range(1, len(kl) + 1), kl, label=name, **look)
    axis.set_ylim(0, None)
    axis.legend(**figures.LEGEND)
    axes = right.subplots(len(pictures), 1)
    for axis, (name, images) in zip(axes, pictures.items(), strict=True):
        show_mosaic(axis, images[:, 0], len(images))
        side = axis.text(-0.01, 0.5, name, ha="right", va="center", fontsize=8)
        side.set(transform=axis.transAxes, color=figures.INK)
    return figure


if __name__ == "__main__":
    main()
