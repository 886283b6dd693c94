"""Images: shuffled minibatches, and the ELBO on held-out images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from diptych import figures, pairs
from diptych.data import Dataset
from diptych.data.dataset import count as count_images
from diptych.evaluation.elbo import Part, mean_terms, parts_of
from diptych.panels import Panel
from diptych.runs.config import RunConfig
from diptych.tasks import latent_pictures
from diptych.tasks.base import Assessment, Options, Task, check_options
from diptych.tasks.image_evaluation import ImageEvaluation
from diptych.tasks.pictures import KINDS, LATENTS, Picture, check_picture
from model_specs.common.key import Key
from model_specs.vlae import MIXTURE
from numpy_ref.nn import random

KEPT_MIB = 256
"""The size of a validation set that is kept on the device during training, in MiB at most."""


class Images(Task):
    """Every image once an epoch, in an order drawn from the run's key; nats per image.

    A last batch of one image is merged with the batch before it, because one image alone cannot be
    normalised.
    """

    unit = "images"
    divisible = pictured = resumable = fits_validation = True
    evaluation_options = ("split", "samples", "examples", "memory_mb", "resume", "per_image")
    data: Dataset

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        super().__init__(config, data)
        self.training_rows = data.train.x
        if not config.validates:
            self.training_rows = np.concatenate([data.train.x, data.valid.x])
        full, rest = divmod(len(self.training_rows), config.batch_size)
        self.steps_per_epoch = max(1, full + (rest > 1))
        self._order: tuple[int, np.ndarray] | None = None
        self._validation: tuple[Panel, list[Part]] | None = None

    def batch(self, panel: Panel, epoch: int, index: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            key = self.key.fold_in("order").fold_in(epoch)
            self._order = epoch, panel.permutation(key, len(self.training_rows))
        size = self.config.batch_size
        stop = None if index == self.steps_per_epoch - 1 else (index + 1) * size
        return self.training_rows[self._order[1][index * size : stop]]

    @property
    def binarises(self) -> bool:
        """True if the run or the data set treats grey values as probabilities of 1."""
        return self.config.binarize or self.data.dynamic

    def check_binarize(self) -> None:
        x, got = self.data.train.x, f"got True with data {self.data.name!r}"
        if self.data.image_shape[0] != 1:
            super().check_binarize()
        if self.data.dynamic:
            raise ValueError(f"binarize: {got}, which are drawn at every step anyway, takes False")
        if not ((x > 0) & (x < 1)).any():
            raise ValueError(f"binarize: {got}, whose pixels are 0 or 1 already, takes False")
        for name, value in self.config.model_config.items():
            if value == MIXTURE:
                got, takes = f"got True with {name} {value!r}", "takes False: it models 256 levels"
                raise ValueError(f"binarize: {got}, {takes}, of which drawn pixels have two")

    def prepare(self, panel: Panel, batch: np.ndarray, key: Key, state: Any) -> np.ndarray:
        if self.binarises:
            batch = random.bernoulli(key.fold_in("binarize"), batch)
        return self.examples(panel, batch)

    def examples(self, panel: Panel, rows: np.ndarray) -> np.ndarray:
        """Convert rows in [0, 1] to the model's images."""
        make = pairs.get(self.config.model).to_batch
        if make is None:
            raise ValueError(f"data: got {self.data.name}, which {self.config.model} cannot read")
        return make(panel.model.config, rows, self.data.image_shape)

    def size(self, batch: np.ndarray) -> int:
        return len(batch)

    def held_out(self, split: str) -> np.ndarray:
        """Return the images of a split; binarised pixels are the same in every evaluation."""
        x = getattr(self.data, split).x
        if not self.binarises:
            return x
        return random.bernoulli(Key(0).fold_in("binarize").fold_in(split), x)

    def validate(self, panel: Panel) -> dict[str, float]:
        """The mean loss terms of the validation set, of which each epoch gets the same noise.

        The parts and their noise are kept for the next epoch, unless they are large.
        """
        if self._validation is not None and self._validation[0] is panel:
            return mean_terms(panel, self._validation[1])
        x = self.examples(panel, self.held_out("valid"))
        parts: Iterable[Part] = parts_of(panel, x, self.key.fold_in("validation"))
        if x.nbytes <= KEPT_MIB * 2**20:
            self._validation = panel, [*parts]
            parts = self._validation[1]
        return mean_terms(panel, parts)

    def warning(self, panel: Panel, scores: Mapping[str, float]) -> str | None:
        values = self.data.train.x[0].size
        neg_elbo = pairs.traits(panel.model.config).neg_elbo(scores, values)
        return self._evaluation(panel).warning(neg_elbo, "valid")

    def assess(self, panels: list[Panel], options: Options) -> Assessment:
        """Evaluate a split, or a subset of it (see ImageEvaluation.assess).

        A subset is drawn after a fixed shuffle, because some test sets are sorted by class.
        """
        check_options(options, self.evaluation_options, f"a run on {self.data.name}")
        panel = self.only_panel(panels)
        config = panel.model.config
        panel.model.config = pairs.get(self.config.model).evaluated(config, self.data.image_shape)
        evaluation = self._evaluation(panel)
        batch_size = evaluation.check(options)
        x = self.held_out(options.split)
        numbers = np.arange(len(x))
        if options.examples is not None:
            numbers = random.permutation(Key(0).fold_in("subset"), len(x))[: options.examples]
            x = x[numbers]
        x, key = self.examples(panel, x), self.key.fold_in("evaluation")
        result = evaluation.assess(x, key, options, batch_size)
        source = np.full((2, len(x)), [[self.data.name], [options.split]])
        columns = {"data": source[0], "split": source[1], "image": numbers, **result.columns}
        notes = result.notes
        if options.split == "train" or (options.split == "valid" and not self.config.validates):
            notes += ("The weights were fitted to these images.",)
        return replace(result, columns=columns, notes=notes)

    def sample(self, panel: Panel, folder: Path, options: Options) -> str:
        """Write the picture that the options choose as a PNG: see diptych.tasks.pictures.

        Raises: ValueError for options that only a run on text takes, or have no effect here.
        """
        picture = check_picture(self.data, panel, folder, options)
        figures.save(self._draw(panel, picture, Key(options.seed), options.console), picture.path)
        return f"{KINDS[picture.option].message.format(picture.count)} in {picture.path}"

    def _draw(self, panel: Panel, picture: Picture, key: Key, console: Console) -> Figure:
        evaluation, count, mean = self._evaluation(panel), picture.count, picture.mean
        match picture.option:
            case "reconstruct":
                x = self.examples(panel, self._test_rows(key, count)[0])
                return evaluation.reconstructions(x, console)
            case "latents":
                rows, labels = self._test_rows(key, count)
                return latent_pictures.scatter(evaluation, self.examples(panel, rows), labels)
            case "manifold":
                x = self.examples(panel, self._test_rows(Key(0), LATENTS)[0])
                side = math.isqrt(count)
                return latent_pictures.manifold(evaluation, x, side, key, mean, console)
            case "interpolate":
                x = self.examples(panel, self._test_rows(key, 2 * count)[0])
                steps = picture.steps
                return latent_pictures.interpolations(evaluation, x, steps, key, mean, console)
        return evaluation.samples(key.fold_in("sample"), count, mean, console)

    def _test_rows(self, key: Key, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return test images in a random order, at most `count`, and their labels if there are."""
        rows, labels = self.held_out("test"), self.data.test.y
        chosen = random.permutation(key.fold_in("subset"), len(rows))[:count]
        return rows[chosen], None if labels is None else labels[chosen]

    def pictures(self, panel: Panel) -> dict[str, Figure]:
        """Draw 64 samples, of the same codes each time, and 16 reconstructions."""
        evaluation = self._evaluation(panel)
        x = self.examples(panel, self.held_out("valid")[:16])
        return {
            "samples": evaluation.samples(self.key.fold_in("pictures"), 64),
            "reconstructions": evaluation.reconstructions(x),
        }

    def summary(self) -> str:
        return f"{self.data.name}: {count_images(self.data.train, self.data.valid, self.data.test)}"

    def _evaluation(self, panel: Panel) -> ImageEvaluation:
        return ImageEvaluation(panel, self.data.image_shape)
