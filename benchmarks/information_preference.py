"""What is z for?   The VLAE on static MNIST: windows of growing size, and the paper's ablations.

    DIPTYCH_DATA=... python benchmarks/information_preference.py

trains each for a few epochs (three quarters of an hour in all), and writes the result beside
this file and the figure for the README. Stopped, it goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from diptych import data, figures
from diptych.cli.terminal import flushed_denormals
from diptych.commands.open import open_run
from diptych.lab.windows import visible_pixels
from diptych.runs import results
from diptych.runs.folder import RunFolder
from diptych.tasks import Options, make_task
from diptych.training.presets import settings
from diptych.training.train import train

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "information_preference"
DATA = "static_mnist"
EPOCHS, SAMPLES, EXAMPLES = 3, 64, 1000
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
"""(preset, what is set besides) by name. As in the recipe 7.84 nats of KL are free in training, so
that a KL near that may tell of no more than this floor."""


def main() -> None:
    console = Console()
    images = data.load(DATA)
    result: dict[str, Any] = {}
    for name, (preset, fields) in MODELS.items():
        given = {"epochs": EPOCHS, "compile": True, "channels_last": True}
        config = settings("vlae", DATA, images, preset, fields, given)
        path = RUNS / preset / "-".join(map(str, fields.values()))
        console.print(name)
        with flushed_denormals():
            begun = RunFolder(path).settings_file.exists()
            outcome = train(config, images, path, resume=begun, console=console)
        if outcome.interrupted:
            raise KeyboardInterrupt
        _, _, panel = open_run(path)
        options = Options(console, samples=SAMPLES, examples=EXAMPLES, memory_mb=1024)
        judged = make_task(config, images).assess([panel], options).metrics
        result[name] = {
            key: judged[f"test_{key}"] for key in ("nll", "nll_standard_error", "elbo", "kl")
        }
        result[name] |= {"pixels": visible_pixels(panel.model.config), "seconds": outcome.seconds}
        result[name] |= {"latent": panel.model.config.latent}
    figures.save(draw(result), HERE.parent / "docs" / "information_preference.png")
    results.write(
        HERE / "results" / "vlae_information_preference.json",
        name="vlae_information_preference",
        command="python benchmarks/information_preference.py",
        seed=config.seed,
        data=images.summary,
        device=config.device,
        time_s=sum(run["seconds"] for run in result.values()),
        metrics={
            "preference": result,
            "epochs": EPOCHS,
            "samples": SAMPLES,
            "examples": EXAMPLES,
            "free_nats": panel.model.config.free_nats,
        },
    )


def draw(result: dict[str, Any]) -> Figure:
    """Nats on z and in all, against the pixels of the window; AF priors."""
    chosen = [run for run in result.values() if run["latent"] == "af_prior"]
    figure = Figure((6.4, 3.4), dpi=figures.DPI, facecolor="white", layout="constrained")
    axis = figures.style(figure.subplots(), "pixels in the decoder's window", "nats an image")
    places = range(len(chosen))
    for key, sign, label, color in (
        ("nll", 1, "-log p(x)", figures.MUTED),
        ("elbo", -1, "-ELBO", figures.INK),
        ("kl", 1, "of it on z", figures.RIGHT),
    ):
        values = sign * np.array([run[key] for run in chosen])
        axis.plot(places, values, "o-", color=color, label=label)
        for place, value in zip(places, values, strict=True):
            if key == "kl":
                axis.annotate(f"{value:.1f}", (place, value), (0, 6), textcoords="offset points")
    axis.set_xticks(places, [str(run["pixels"]) for run in chosen])
    axis.set_ylim(0, None)
    axis.legend(**figures.LEGEND)
    return figure


if __name__ == "__main__":
    main()
