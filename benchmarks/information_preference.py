"""Train the VLAE on static MNIST with windows of growing size, and the paper's ablations.

    DIPTYCH_DATA=... python benchmarks/information_preference.py

trains each model for a few epochs (45 minutes in all), and writes the recorded result to
benchmarks/results and the figure to docs. An interrupted run resumes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from window_runs import sizes_of, train_and_judge

from diptych import data, figures
from diptych.runs import results
from diptych.tasks import Options

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "information_preference"
DATA = "static_mnist"
EPOCHS, SAMPLES, EXAMPLES = 3, 64, 1000
OPTIONS = {"epochs": EPOCHS, "compile": True, "channels_last": True}
MEASURES = ("nll", "nll_standard_error", "least_effective_samples", "elbo", "kl")
MEASURES += ("pixels", "seconds")
LOCAL = {"context": "local"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "factorised, Gaussian prior": ("vlae-mnist-factorised", {}),
    "factorised, AF prior": ("vlae-mnist-factorised-af", {}),
    "3 x 1, AF prior": ("vlae-mnist", LOCAL | {"window_width": 3, "window_rows": 1}),
    "5 x 2, AF prior": ("vlae-mnist", LOCAL | {"window_width": 5, "window_rows": 2}),
    "raster, AF prior": ("vlae-mnist", {}),
    "raster, Gaussian prior": ("vlae-mnist-gaussian", {}),
    "raster, no z": ("vlae-mnist-unconditional", {}),
}
"""(preset, config fields) by name. In training 7.84 nats of KL are free (free bits), so a KL near
this value may only reflect the free bits."""


def main() -> None:
    console = Console()
    images = data.load(DATA)
    evaluation = Options(console, samples=SAMPLES, examples=EXAMPLES, memory_mb=1024)
    results_by_name: dict[str, Any] = {}
    for name, (preset, fields) in MODELS.items():
        path = RUNS / preset / "-".join(map(str, fields.values()))
        console.print(name)
        measures, panel = train_and_judge(
            images, preset, fields, OPTIONS, path, evaluation, console
        )
        results_by_name[name] = {key: measures[key] for key in MEASURES}
        results_by_name[name] |= {"latent": panel.model.config.latent}
    figures.save(draw(results_by_name), HERE.parent / "docs" / "information_preference.png")
    results.write(
        HERE / "results" / "vlae_information_preference.json",
        name="vlae_information_preference",
        command="python benchmarks/information_preference.py",
        seed=0,
        data=sizes_of(images),
        device="cpu",
        time_s=sum(run["seconds"] for run in results_by_name.values()),
        metrics={
            "preference": results_by_name,
            "epochs": EPOCHS,
            "samples": SAMPLES,
            "examples": EXAMPLES,
            "free_nats": panel.model.config.free_nats,
        },
    )


def draw(results_by_name: dict[str, Any]) -> Figure:
    """Plot KL, -ELBO and NLL against the number of visible pixels, for the AF priors."""
    runs = [run for run in results_by_name.values() if run["latent"] == "af_prior"]
    figure = Figure((6.4, 3.4), dpi=figures.DPI, facecolor="white", layout="constrained")
    axis = figures.style(figure.subplots(), "pixels in the decoder's window", "nats per image")
    positions = range(len(runs))
    for key, sign, label, color in (
        ("nll", 1, "-log p(x)", figures.MUTED),
        ("elbo", -1, "-ELBO", figures.INK),
        ("kl", 1, "KL", figures.RIGHT),
    ):
        values = sign * np.array([run[key] for run in runs])
        axis.plot(positions, values, "o-", color=color, label=label)
        for position, value in zip(positions, values, strict=True):
            if key == "kl":
                axis.annotate(f"{value:.1f}", (position, value), (0, 6), textcoords="offset points")
    axis.set_xticks(positions, [str(run["pixels"]) for run in runs])
    axis.set_ylim(0, None)
    axis.legend(**figures.LEGEND)
    return figure


if __name__ == "__main__":
    main()
