"""What the experiments share: models trained by the project's own loop, and what seeds tell."""

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
from model_specs.common.key import Key
from numpy_ref.nn import random

RUN: dict[str, Any] = {"batch_size": 128, "lr": 1e-2, "schedule": "cosine", "log_every": 10**6}


def trained(
    setting: Setting, seed: int, fields: dict[str, Any], *, data: Dataset | None = None, **run: Any
) -> Panel:
    """An MLP VAE of these fields, trained on the right panel; its run folder is thrown away.

    `data` in the place of the setting's; `run` goes over RUN and RunConfig's own.
    """
    dataset = setting.data if data is None else data
    model = vars(pairs.get("mlp_vae").for_data(dataset, fields)).copy()
    config = RunConfig("mlp_vae", model, dataset.name, seed=seed, **RUN | run)
    message = ", ".join(f"{name}={value}" for name, value in fields.items() if name != "hidden_dim")
    if setting.console is not None:
        setting.console.print(f"training seed {seed}: {message}", style="dim", highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        outcome = train(config, dataset, Path(folder) / "run")
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome.panel


def epochs_in(setting: Setting, data: Dataset, steps: int) -> int:
    """Epochs of about so many steps; of a large set at least 10, or in quick form one."""
    result = round(steps / math.ceil(len(data.train) / RUN["batch_size"]))
    return max(1 if setting.quick else 10, result)


def decoded(panel: Panel, z: np.ndarray) -> np.ndarray:
    """The means of p(x|z).   z (N, Z) -> (N, D)"""
    model = panel.model
    with panel.evaluating():
        return to_numpy(model.likelihood.mean(model.decode(panel.array(z))))


def codes(panel: Panel, x: np.ndarray) -> np.ndarray:
    """mu(x).   x (N, D) -> (N, Z)"""
    with panel.evaluating():
        return to_numpy(panel.model.encode(panel.array(x)).mu)


def reconstructed(panel: Panel, x: np.ndarray) -> np.ndarray:
    """The means of p(x|z) at z = mu(x).   (N, D) -> (N, D)"""
    with panel.evaluating():
        return to_numpy(panel.model.reconstruct(panel.array(x)))


def no_more(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a <= b as far as the seeds can tell: in the mean over them, each seed's a against its
    own b, by no more than the standard error of that mean."""
    apart = np.subtract(a, b)
    error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
    return bool(apart.mean() <= error)


def less(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a < b with every seed."""
    return bool(np.less(a, b).all())


def format_mean(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation over the seeds."""
    error = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{error}"


def grey_size(data: Dataset) -> tuple[int, int]:
    """Height and width of the images. Raises: ValueError for colours."""
    channels, height, width = data.image_shape
    if channels != 1:
        raise ValueError(f"data: got {data.name}, takes images of one channel")
    return height, width


def levels(data: Dataset) -> int:
    """How many values a pixel of the files can have: 17 or 256.

    Raises: ValueError for images of other values, or of black and white alone.
    """
    x = data.train.x
    for top in (16, 255):
        if np.abs(x * top - np.rint(x * top)).max() < 1e-3 and ((x > 0) & (x < 1)).any():
            return top + 1
    raise ValueError(f"data: got {data.name}, takes grey images of 17 or 256 levels")


def dequantised(data: Dataset, key: Key) -> Dataset:
    """x = (k + u) / levels, k the level of a pixel and u uniform in [0, 1), addressed by `key`.

    The mean of log p(x) over u is then at most log P(k) + D log(levels): a density's nats bound
    those of the levels themselves. Of few images the training split has several copies, each with a
    u of its own, lest u be learned too.
    Source: Theis, van den Oord & Bethge (2016), arXiv 1511.01844, section 3.1.
    """
    count = levels(data)

    def noisy(split: Split, name: str, copies: int = 1) -> Split:
        k = np.tile(np.rint(split.x * (count - 1)), (copies, 1))
        x = (k + random.uniform(key.fold_in(name), k.shape)) / count
        y = None if split.y is None else np.tile(split.y, copies)
        return Split(x.astype(np.float32), y)

    copies = max(1, 5000 // len(data.train))
    train = noisy(data.train, "train", copies)
    valid, test = (noisy(getattr(data, name), name) for name in ("valid", "test"))
    return replace(data, train=train, valid=valid, test=test)
