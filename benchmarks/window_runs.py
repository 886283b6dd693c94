"""A VLAE of each decoder window, trained by a preset and judged on held-out images.

The parts that benchmarks/information_preference.py and benchmarks/colour_windows.py share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.cli.terminal import flushed_denormals
from diptych.commands.open import open_run
from diptych.data import Dataset
from diptych.data.dataset import count
from diptych.lab.windows import visible_pixels
from diptych.runs.folder import RunFolder
from diptych.tasks import Options, make_task
from diptych.training.presets import settings
from diptych.training.train import train


def train_and_judge(
    images: Dataset,
    preset: str,
    fields: Mapping[str, Any],
    options: Mapping[str, Any],
    folder: Path,
    evaluation: Options,
    console: Console,
) -> tuple[dict[str, Any], Any]:
    """Train in `folder`, or resume there; return the measures of the test images, and the panel.

    The measures are those of `diptych evaluate` without their prefix `test_`, in nats per image
    unless their name says otherwise, with the number of pixels in view and the seconds of training.
    Raises: KeyboardInterrupt if the training was interrupted; its folder can be resumed.
    """
    config = settings("vlae", images.name, images, preset, fields, options)
    with flushed_denormals():
        resume = RunFolder(folder).settings_file.exists()
        outcome = train(config, images, folder, resume=resume, console=console)
    if outcome.interrupted:
        raise KeyboardInterrupt
    _, _, panel = open_run(folder)
    metrics = make_task(config, images).assess([panel], evaluation).metrics
    measures = {key.removeprefix("test_"): value for key, value in metrics.items()}
    measures |= {"pixels": visible_pixels(panel.model.config), "seconds": outcome.seconds}
    return measures, panel


def sizes_of(images: Dataset) -> str:
    """The name and the sizes of a data set, without the place of its files."""
    return f"{images.name}: {count(images.train, images.valid, images.test)}"
