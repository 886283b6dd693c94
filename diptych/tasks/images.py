"""Images: shuffled minibatches, the ELBO, and pictures."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from diptych import figures
from diptych.data import Dataset
from diptych.data.dataset import count as count_images
from diptych.evaluation import elbo_terms, importance_weighted
from diptych.panels import Panel
from diptych.parity.tree import to_numpy
from diptych.run import RunConfig
from diptych.tasks.base import Assessment, Options, Task
from model_specs.fields import check_positive_int
from model_specs.key import Key
from numpy_ref import random


class Images(Task):
    """Every image once an epoch, in an order drawn from the run's key; nats per image."""

    unit = "images"
    data: Dataset

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        super().__init__(config, data)
        self.steps_per_epoch = math.ceil(len(data.train) / config.batch_size)
        self._order = lru_cache(1)(
            lambda epoch: random.permutation(
                self.key.fold_in("order").fold_in(epoch), len(data.train)
            )
        )

    def batch(self, epoch: int, index: int) -> np.ndarray:
        size = self.config.batch_size
        return self.data.train.x[self._order(epoch)[index * size : (index + 1) * size]]

    def prepare(self, panel: Panel, batch: np.ndarray, key: Key, state: Any) -> np.ndarray:
        if not self.config.binarize:
            return batch
        return random.bernoulli(key.fold_in("binarize"), batch)

    def size(self, batch: np.ndarray) -> int:
        return len(batch)

    def held_out(self, split: str) -> np.ndarray:
        """The images of a split as evaluations see them: binarised once, for good."""
        x = getattr(self.data, split).x
        if not self.config.binarize:
            return x
        return random.bernoulli(Key(0).fold_in("binarize").fold_in(split), x)

    def validate(self, panel: Panel) -> dict[str, float]:
        return elbo_terms(panel, self.held_out("valid"), self.key.fold_in("validation"))

    def assess(self, panels: list[Panel], options: Options) -> Assessment:
        """ELBO and importance-weighted NLL.

        A subset is drawn after a fixed shuffle, because some test sets are sorted by class.
        """
        panel, split = self.one(panels), options.split
        samples = 512 if options.samples is None else options.samples
        x = self.held_out(split)
        if options.examples is not None:
            check_positive_int("examples", options.examples)
            x = x[random.permutation(Key(0).fold_in("subset"), len(x))[: options.examples]]
        key = self.key.fold_in("evaluation")
        with Progress(console=options.console) as progress:
            bar = progress.add_task(f"{samples} samples", total=samples * len(x))
            found = importance_weighted(
                panel, x, key, samples, options.memory_mb, lambda n: progress.advance(bar, n)
            )
        terms = elbo_terms(panel, x, key.fold_in("terms"))
        metrics: dict[str, Any] = {f"{split}_{name}": v for name, v in asdict(found).items()}
        metrics |= {f"{split}_{name}": v for name, v in terms.items() if name != "total"}
        error = found.nll_standard_error
        spread = "" if error is None else f" ± {error:.3f}"
        lines = [
            ("NLL", f"{found.nll:.3f}{spread}", "nats/example"),
            ("NLL", f"{found.bits_per_dim:.4f}", "bits/dim"),
            ("ELBO", f"{found.elbo:.3f}", "nats/example"),
            *((name, f"{value:.3f}", "nats/example") for name, value in terms.items()),
        ]
        title = f"{split}, {len(x)} examples, {samples} importance samples"
        return Assessment(title, metrics, lines)

    def sample(self, panel: Panel, folder: Path, options: Options) -> str:
        """Examples from the prior, as a PNG. Raises: ValueError for what only a text takes."""
        if options.prompt is not None or options.temperature != 1:
            raise ValueError(
                f"prompt, temperature: got a run on {self.data.name}, take one on text"
            )
        count = 64 if options.count is None else options.count
        check_positive_int("count", count)
        key = Key(options.seed).fold_in("sample")
        with panel.evaluating():
            x = to_numpy(panel.model.sample(key, count, mean=options.mean))
        side = int(x.shape[1] ** 0.5)
        shape = (side, side) if side * side == x.shape[1] else (1, x.shape[1])
        target = options.out or folder / "samples.png"
        columns = max(1, int(np.ceil(count**0.5)))
        figures.save(figures.image_grid(x.reshape(count, *shape), columns), target)
        return f"{count} samples in {target}"

    def found(self) -> str:
        return f"{self.data.name}: {count_images(self.data.train, self.data.valid, self.data.test)}"
