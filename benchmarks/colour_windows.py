"""Train the VLAE on natural images with windows of the paper in colour, and with a grey context.

    DIPTYCH_DATA=... python benchmarks/colour_windows.py

trains each model on the CIFAR-10 images at hand, reduced to 16 x 16, by the preset
vlae-cifar10-small (90 minutes in all on two cores), and writes the recorded result to
benchmarks/results and the figure to docs. An interrupted run resumes; `--only NAME` trains one
model and stops.
"""

from __future__ import annotations

import argparse
import math
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
from diptych.tasks import Options
from diptych.training.presets import PRESETS
from model_specs.common.key import Key

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "colour_windows"
PRESET = "vlae-cifar10-small"
SAMPLES, SHOWN = 64, 14
OPTIONS = {"compile": True, "channels_last": True}
MODELS: dict[str, dict[str, Any]] = {
    "factorised": {"context": "none"},
    "4 × 2": {"window_width": 4, "window_rows": 2},
    "5 × 3": {"window_width": 5, "window_rows": 3},
    "7 × 4": {"window_width": 7, "window_rows": 4},
    "5 × 3, grey": {"window_width": 5, "window_rows": 3, "context_channels": "grey"},
}
"""The fields of each model that differ from the preset's: the windows of the paper."""
MEASURES = ("nll", "nll_standard_error", "least_effective_samples", "elbo", "kl", "kl_of_maps")
MEASURES += ("pixels", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the VLAE on CIFAR-10 with each window.")
    folders = {folder_name(name): name for name in MODELS}
    parser.add_argument("--only", choices=folders, help="Train this model, and stop.")
    only = folders.get(parser.parse_args().only)
    console, images = Console(), data.load(PRESETS[PRESET].data)
    evaluation = Options(console, samples=SAMPLES, examples=None, memory_mb=1024)
    models: dict[str, Any] = {}
    pictures = {"original": shown(images)}
    for name, fields in MODELS.items() if only is None else [(only, MODELS[only])]:
        console.print(name)
        measures, panel = train_and_judge(
            images, PRESET, fields, OPTIONS, RUNS / folder_name(name), evaluation, console
        )
        models[name] = {key: measures[key] for key in MEASURES}
        models[name] |= in_bits(measures, images)
        pictures[name] = reconstructions(panel, images)
    if only is not None:
        return
    figures.save(draw(pictures), HERE.parent / "docs" / "colour_windows.png")
    config = panel.model.config
    results.write(
        HERE / "results" / "vlae_colour_windows.json",
        name="vlae_colour_windows",
        command="python benchmarks/colour_windows.py",
        seed=0,
        data=sizes_of(images),
        device="cpu",
        time_s=sum(model["seconds"] for model in models.values()),
        metrics={
            "colour_windows": models,
            "epochs": PRESETS[PRESET].run["epochs"],
            "samples": SAMPLES,
            "size": f"{config.height} x {config.width}",
            "free_nats": config.free_nats,
        },
    )


def folder_name(name: str) -> str:
    """The name of a model's folder: "5x3-grey" for "5 × 3, grey"."""
    return name.replace(" ", "").replace("×", "x").replace(",", "-")


def in_bits(measures: dict[str, Any], images: Dataset) -> dict[str, float]:
    """The estimate of -log p(x) and its standard error, in bits per pixel and channel."""
    nats = math.prod(images.image_shape) * math.log(2)
    return {
        "bits_per_dim": measures["nll"] / nats,
        "bits_standard_error": measures["nll_standard_error"] / nats,
    }


def shown(images: Dataset) -> np.ndarray:
    """The test images of the figure.   -> (SHOWN, 3, H, W)"""
    return images.test.x[subset(images, "test")[:SHOWN]].reshape(-1, *images.image_shape)


def reconstructions(panel: Panel, images: Dataset) -> np.ndarray:
    """Draw x' ~ p(x'|z) at z = mu(x) for the images of the figure.   -> (SHOWN, 3, H, W)"""
    with panel.evaluating():
        return to_numpy(panel.model.reconstruct(panel.array(shown(images)), Key(0)))


def draw(pictures: dict[str, np.ndarray]) -> Figure:
    """Show the originals and the reconstructions, a row for each model.

    Shapes: pictures[name] (N, 3, H, W).
    """
    figure = Figure((9.2, 0.62 * len(pictures)), dpi=figures.DPI, facecolor="white")
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(pictures), 1, squeeze=False)[:, 0]
    for axis, (name, images) in zip(axes, pictures.items(), strict=True):
        show_mosaic(axis, images.transpose(0, 2, 3, 1), len(images))
        side = axis.text(-0.01, 0.5, name, ha="right", va="center", fontsize=8)
        side.set(transform=axis.transAxes, color=figures.INK)
    return figure


if __name__ == "__main__":
    main()
