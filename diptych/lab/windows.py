"""VLAEs whose decoders see windows of growing size: how they are trained, what they are asked.

The preset for digits, but wider, with a rate twice as large and a shorter average of the weights:
so a model takes a minute, and has not begun to learn its few images by heart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.arrays import to_numpy
from diptych.data import Dataset
from diptych.evaluation.elbo import elbo_terms
from diptych.evaluation.importance import importance_weighted
from diptych.lab.findings import Setting
from diptych.tasks import Images, make_task
from diptych.training.presets import PRESETS, settings
from diptych.training.step import training_step
from diptych.training.train import build
from model_specs.autoregressive.receptive_field import receptive_field
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random

WINDOWS: dict[str, dict[str, Any]] = {
    "none": {"context": "none"},
    "2 × 0": {"context": "local", "window_width": 2, "window_rows": 0},
    "3 × 1": {"context": "local", "window_width": 3, "window_rows": 1},
    "5 × 2": {"context": "local", "window_width": 5, "window_rows": 2},
    "7 × 3": {"context": "local", "window_width": 7, "window_rows": 3},
    "raster": {"context": "raster"},
}
"""By the paper's names, A x B, the factorised decoder first; all but the last hold the one before,
and the last misses some of it in its blind spot."""
PRESET = "vlae-digits"
FIELDS: dict[str, Any] = {"maps": 16, "hidden_dim": 128}
RUN: dict[str, Any] = {"lr": 0.004, "polyak": 0.98}
MOST = 1000
"""Held-out images that are looked at."""
DRAWS = 4
"""Of z an image, for the KL: that of a flow is as sampled."""


def pixels(config: VLAEConfig) -> int:
    """How many pixels the decoder sees of an image without borders."""
    if config.context == "none":
        return 0
    inner = [(config.inner_window, "B")] * (config.masked_layers - 1)
    return len(receptive_field([(config.window, "A"), *inner]).offsets)


def epochs_in(data: Dataset, steps: int) -> int:
    """Epochs of about so many steps."""
    return max(1, round(steps * PRESETS[PRESET].run["batch_size"] / len(data.train)))


class Windowed:
    """A VLAE of these fields, trained on the right panel in float32, and its held-out images.

    Grey values are the probabilities of the black and white that is trained on and looked at.
    """

    def __init__(self, setting: Setting, seed: int, fields: dict[str, Any], epochs: int) -> None:
        data = setting.data
        given = {**RUN, "epochs": epochs, "seed": seed, "binarize": not black_and_white(data)}
        fields = {**FIELDS, **fields}
        run = settings("vlae", data.name, data, PRESET, fields, given)
        task = make_task(run, data)
        assert isinstance(task, Images)
        self.task, self.panel = task, build(run)
        self.key = task.key.fold_in("lab")
        self._train()

    @property
    def config(self) -> VLAEConfig:
        return self.panel.model.config

    def _train(self) -> None:
        task, panel, run = self.task, self.panel, self.task.config
        assert run.polyak is not None
        panel.keep_average(run.polyak)
        for step in range(run.epochs * task.steps_per_epoch):
            batch = task.training_batch(panel, step)
            if step == 0:
                panel.initialize(batch.inputs, batch.noise)
            training_step(panel, batch, run.lr_at(step // task.steps_per_epoch), run.clip)

    def images(self, split: str) -> np.ndarray:
        """Those of a split in black and white, MOST of them if it is held out.   -> (N, 1, H, W)

        Drawn after a fixed shuffle, because some test sets are sorted by class; see `some`.
        """
        x = self.task.held_out(split)
        return self.task.examples(self.panel, x[some(self.task.data, split)])

    def measure(self, samples: int) -> dict[str, float]:
        """Means over the images of a split, nats; nll by importance sampling, K = `samples`."""
        result: dict[str, float] = {}
        for split in ("train", "test"):
            x = self.images(split)
            terms = [elbo_terms(self.panel, x, self.key.fold_in(i)) for i in range(DRAWS)]
            for name in ("recon", "kl"):
                result[f"{split}_{name}"] = float(np.mean([each[name] for each in terms]))
        x = self.images("test")
        result["nll"] = importance_weighted(self.panel, x, self.key.fold_in("nll"), samples).nll
        return result

    def codes(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """mu(x), and z as drawn from q(z|x).   both (N, Z)"""
        panel, x = self.panel, self.images(split)
        with panel.evaluating():
            noise = panel.model.draw_noise(self.key.fold_in(split), len(x))
            mu, logvar = panel.model.encode(panel.array(x))
            z = panel.model.reparameterize(mu, logvar, noise.eps)
            return to_numpy(mu), to_numpy(z)

    def reconstructed(self) -> np.ndarray:
        """x' ~ p(x'|z) at z = mu(x), of the held-out images.   -> (N, 1, H, W)"""
        with self.panel.evaluating():
            x = self.panel.array(self.images("test"))
            return to_numpy(self.panel.model.reconstruct(x, self.key.fold_in("x")))


def some(data: Dataset, split: str) -> np.ndarray:
    """Rows of a split: MOST at most, or 5 * MOST of those trained on."""
    count = 5 * MOST if split == "train" else MOST
    return random.permutation(Key(0).fold_in("subset"), len(getattr(data, split)))[:count]


def black_and_white(data: Dataset) -> bool:
    """Whether the images are; or else grey."""
    return bool(np.isin(data.train.x, (0, 1)).all())
