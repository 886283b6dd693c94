"""Train and measure VLAEs whose decoders see windows of growing size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
"""Config fields by the paper's names, width x rows, from the factorised decoder to the raster. Each
window contains the previous one, except that the raster has a blind spot."""
MAX_IMAGES = 1000
"""The most held-out images that are evaluated."""
DRAWS = 4
"""Samples of z for each image to estimate the KL, which has no closed form with a flow prior."""


@dataclass(frozen=True)
class Recipe:
    """The settings that all models of an experiment share."""

    preset: str
    fields: Mapping[str, Any]
    """fields of the model's config that differ from the preset's"""
    run: Mapping[str, Any]
    """fields of RunConfig that differ from the preset's"""


DIGITS = Recipe("vlae-digits", {"maps": 16, "hidden_dim": 128}, {"lr": 0.004, "polyak": 0.98})
"""More maps than in the preset, twice its learning rate and a shorter average of the weights, so
that a model trains in a minute without overfitting."""


def visible_pixels(config: VLAEConfig) -> int:
    """Return the number of pixels that the decoder sees, away from the image's borders."""
    if config.context == "none":
        return 0
    if config.context == "gated":
        return len(config.window.offsets)
    inner = [(config.inner_window, "B")] * (config.masked_layers - 1)
    return len(receptive_field([(config.window, "A"), *inner]).offsets)


def epochs_for(data: Dataset, steps: int, recipe: Recipe = DIGITS) -> int:
    """Return the number of epochs that take about `steps` steps."""
    return max(1, round(steps * PRESETS[recipe.preset].run["batch_size"] / len(data.train)))


class WindowedVLAE:
    """A VLAE with the given config fields, trained on the right panel in float32.

    Images of one channel are binary: grey values are the probabilities from which their pixels are
    drawn. Images in colour are modelled as they are.
    """

    def __init__(
        self,
        setting: Setting,
        seed: int,
        fields: Mapping[str, Any],
        epochs: int,
        recipe: Recipe = DIGITS,
    ) -> None:
        data = setting.data
        binarize = data.image_shape[0] == 1 and not is_binary(data)
        options = {**recipe.run, "epochs": epochs, "seed": seed, "binarize": binarize}
        run = settings("vlae", data.name, data, recipe.preset, {**recipe.fields, **fields}, options)
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
        """Return the images of `subset` of a split.   -> (N, C, H, W)"""
        x = self.task.held_out(split)
        return self.task.examples(self.panel, x[subset(self.task.data, split)])

    def measure(self, samples: int) -> dict[str, float]:
        """Return means over images in nats: recon and kl of both splits, nll of the test split.

        nll is estimated by importance sampling with K = `samples`.
        """
        means: dict[str, float] = {}
        for split in ("train", "test"):
            x = self.images(split)
            terms = [elbo_terms(self.panel, x, self.key.fold_in(i)) for i in range(DRAWS)]
            for name in ("recon", "kl"):
                means[f"{split}_{name}"] = float(np.mean([each[name] for each in terms]))
        x = self.images("test")
        means["nll"] = importance_weighted(self.panel, x, self.key.fold_in("nll"), samples).nll
        return means

    def codes(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mu(x) and a sample z ~ q(z|x).   both (N, Z)"""
        panel, x = self.panel, self.images(split)
        with panel.evaluating():
            noise = panel.model.draw_noise(self.key.fold_in(split), len(x))
            mu, logvar = panel.model.encode(panel.array(x))
            z = panel.model.reparameterize(mu, logvar, noise.eps)
            return to_numpy(mu), to_numpy(z)

    def reconstruct(self, split: str = "test", count: int | None = None) -> np.ndarray:
        """Draw x' ~ p(x'|z) at z = mu(x) for the first `count` images.   -> (N, C, H, W)"""
        with self.panel.evaluating():
            x = self.panel.array(self.images(split)[:count])
            return to_numpy(self.panel.model.reconstruct(x, self.key.fold_in("x")))


def subset(data: Dataset, split: str) -> np.ndarray:
    """Return shuffled row numbers of a split, at most MAX_IMAGES, or 5 MAX_IMAGES of train.

    Shuffled, because some test sets are sorted by class.
    """
    count = 5 * MAX_IMAGES if split == "train" else MAX_IMAGES
    return random.permutation(Key(0).fold_in("subset"), len(getattr(data, split)))[:count]


def is_binary(data: Dataset) -> bool:
    """True if all pixels are 0 or 1."""
    return bool(np.isin(data.train.x, (0, 1)).all())
