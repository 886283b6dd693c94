"""Helpers of the experiments: training, decoding, comparison over seeds, dequantised data."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych import pairs
from diptych.arrays import to_numpy
from diptych.data import Dataset, Split
from diptych.lab.findings import Setting
from diptych.panels import Panel
from diptych.runs.config import RunConfig
from diptych.training.train import train
from model_specs.common.effects import effective
from model_specs.common.key import Key
from numpy_ref.nn import random

RUN: dict[str, Any] = {"batch_size": 128, "lr": 1e-2, "schedule": "cosine", "log_every": 10**6}


def train_vae(
    setting: Setting, seed: int, fields: dict[str, Any], *, data: Dataset | None = None, **run: Any
) -> Panel:
    """Train an MLP VAE with the given config fields on the right panel.

    `data` replaces the data of the setting; `run` overrides RUN and the defaults of RunConfig. The
    run folder is temporary.
    """
    dataset = setting.data if data is None else data
    model = vars(pairs.get("mlp_vae").for_data(dataset, fields)).copy()
    options = effective(RunConfig, RUN, run)
    config = RunConfig("mlp_vae", model, dataset.name, seed=seed, **options)
    description = ", ".join(
        f"{name}={value}" for name, value in fields.items() if name != "hidden_dim"
    )
    if setting.console is not None:
        setting.console.print(f"training seed {seed}: {description}", style="dim", highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        outcome = train(config, dataset, Path(folder) / "run")
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome.panel


def epochs_for(setting: Setting, data: Dataset, steps: int) -> int:
    """Return the number of epochs that take about `steps` steps, at least 10, or 1 if quick."""
    epochs = round(steps / math.ceil(len(data.train) / RUN["batch_size"]))
    return max(1 if setting.quick else 10, epochs)


def decode_means(panel: Panel, z: np.ndarray) -> np.ndarray:
    """Return the means of p(x|z).   z (N, Z) -> (N, D)"""
    model = panel.model
    with panel.evaluating():
        return to_numpy(model.likelihood.mean(model.decode(panel.array(z))))


def codes(panel: Panel, x: np.ndarray) -> np.ndarray:
    """Return the posterior means mu(x).   x (N, D) -> (N, Z)"""
    with panel.evaluating():
        return to_numpy(panel.model.encode(panel.array(x)).mu)


def reconstruct(panel: Panel, x: np.ndarray) -> np.ndarray:
    """Return the means of p(x|z) at z = mu(x).   (N, D) -> (N, D)"""
    with panel.evaluating():
        return to_numpy(panel.model.reconstruct(panel.array(x)))


def at_most(a: Sequence[float], b: Sequence[float]) -> bool:
    """True if a <= b within the precision of the seeds.

    The mean over the seeds of a - b must be at most the standard error of that mean.
    """
    differences = np.subtract(a, b)
    error = differences.std(ddof=1) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return bool(differences.mean() <= error)


def always_below(a: Sequence[float], b: Sequence[float]) -> bool:
    """True if a < b for every seed."""
    return bool(np.less(a, b).all())


def format_mean(values: Sequence[float], digits: int = 2) -> str:
    """Format the mean and the standard deviation over the seeds, such as "2.00 ± 1.41"."""
    error = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{error}"


def image_size(data: Dataset) -> tuple[int, int]:
    """Return (height, width) of grey images. Raises: ValueError for images in colour."""
    channels, height, width = data.image_shape
    if channels != 1:
        raise ValueError(f"data: got {data.name}, takes images of one channel")
    return height, width


def grey_levels(data: Dataset) -> int:
    """Return the number of grey levels of the images: 17 or 256.

    Raises: ValueError for images with other values, or with black and white only.
    """
    x = data.train.x
    for maximum in (16, 255):
        scaled = x * maximum
        if np.abs(scaled - np.rint(scaled)).max() < 1e-3 and ((x > 0) & (x < 1)).any():
            return maximum + 1
    raise ValueError(f"data: got {data.name}, takes grey images of 17 or 256 levels")


def dequantise(data: Dataset, key: Key) -> Dataset:
    """Dequantise images: x = (k + u) / levels, with k the level of a pixel and u uniform in [0, 1).

    Then E_u[log p(x)] <= log P(k) + D log(levels): the log-density bounds the log-probability of
    the levels. A small training split is repeated with different u, so that u is not learned.
    Source: Theis, van den Oord & Bethge (2016), arXiv 1511.01844, section 3.1.
    """
    count = grey_levels(data)

    def noisy(split: Split, name: str, copies: int = 1) -> Split:
        k = np.tile(np.rint(split.x * (count - 1)), (copies, 1))
        x = (k + random.uniform(key.fold_in(name), k.shape)) / count
        y = None if split.y is None else np.tile(split.y, copies)
        return Split(x.astype(np.float32), y)

    copies = max(1, 5000 // len(data.train))
    train = noisy(data.train, "train", copies)
    valid, test = (noisy(getattr(data, name), name) for name in ("valid", "test"))
    return replace(data, train=train, valid=valid, test=test)
