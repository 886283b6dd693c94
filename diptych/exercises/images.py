"""Images in the exercises: shuffled minibatches, -ELBO and RMSE, codes and reconstructions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from diptych import pairs
from diptych.arrays import to_numpy
from diptych.evaluation.elbo import elbo_terms, per_example, reconstruction_error
from diptych.exercises.examples import Examples
from diptych.pairs.latent import value
from diptych.panels import Panel
from model_specs.common.key import Key


class Scores(NamedTuple):
    """Scores of a VAE on a data set; the lower, the better."""

    neg_elbo: float | None  # main: nats per example; None where the loss is no bound
    rmse: float  # secondary: of a pixel, in the units of x
    terms: dict[str, float]  # of the loss, "total" first, per example

    def numbers(self) -> dict[str, float]:
        """Both scores and the terms by name, for a record or a table."""
        main = {} if self.neg_elbo is None else {"neg_elbo": self.neg_elbo}
        return main | {"rmse": self.rmse} | self.terms


class Prediction(NamedTuple):
    """Outputs of a VAE for N images, or for one without the axis N; NumPy arrays on both panels."""

    mu: np.ndarray  # (N, Z), the mean of q(z|x)
    std: np.ndarray  # (N, Z), its standard deviation, never negative
    recon: np.ndarray  # as x: the reconstruction at z = mu
    elbo: np.ndarray | None  # (N,), nats; None where the loss is no bound


class ImageExamples(Examples):
    """Images (N, ...), in the shape that the model takes."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.shape: tuple[int, ...] = panel.model.config.example_shape

    def check(self, x: Any) -> None:
        x = np.asarray(x)
        if x.dtype.kind != "f":
            raise ValueError(
                f"x: got dtype {x.dtype}, takes floating-point numbers: {self.name} takes images"
            )
        if len(np.atleast_1d(x)) == 0:
            raise ValueError(f"x: got shape {x.shape}, takes one example or more")

    def minibatches(
        self, x: np.ndarray, batch_size: int, key: Key, epoch: int
    ) -> Iterator[np.ndarray]:
        order = self.panel.permutation(key.fold_in("order").fold_in(epoch), len(x))
        return (x[order[start : start + batch_size]] for start in range(0, len(x), batch_size))

    def size(self, batch: np.ndarray) -> int:
        return len(batch)

    def noise(self, key: Key, batch: np.ndarray) -> Any:
        return self.model.draw_noise(key, len(batch))

    def evaluate(self, x: np.ndarray, key: Key, batch_size: int) -> Scores:
        terms = elbo_terms(self.panel, x, key, batch_size)
        bound = self._neg_elbo(terms, x[0].size)
        return Scores(bound, reconstruction_error(self.panel, x, batch_size), terms)

    @torch.no_grad()
    def predict(self, x: Any, key: Key) -> Prediction:
        images, single = self._batch_of(x)
        with self.panel.evaluating():
            mu, std = self._posterior(images)
            recon = to_numpy(self.model.reconstruct(self.panel.array(images)))
            elbo = self._elbo(images, key)
        if single:
            mu, std, recon, elbo = mu[0], std[0], recon[0], None if elbo is None else elbo[0]
        return Prediction(mu, std, recon, elbo)

    def _posterior(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mu and std of q(z|x).

        std is |mu + std eps| at mu = 0, eps = 1, whether the model has a logvar or a sigma.
        """
        mu, scale = value(self.model, self.model.encode(self.panel.array(images)))
        ones = 0 * self.model.draw_noise(Key(0), len(images)).eps + 1
        std = to_numpy(value(self.model, self.model.reparameterize(0 * mu, scale, ones)))
        return to_numpy(mu), np.abs(std[:, 0] if std.ndim == 3 else std)

    def _elbo(self, images: np.ndarray, key: Key) -> np.ndarray | None:
        """The ELBO of one image at a time, because a loss is averaged over its batch."""
        result = []
        for n in range(len(images)):
            noise = self.model.draw_noise(key, 1, first=n)
            terms = self.panel.terms(images[n : n + 1], noise)
            terms = per_example(self.model.config, terms, 1)
            result.append(self._neg_elbo(terms, images[0].size))
        return None if result[0] is None else -np.array(result, np.float64)

    def _neg_elbo(self, terms: dict[str, float], values: int) -> float | None:
        """-ELBO in nats; None where recon is no -log p(x|z), or q(z|x) no density."""
        traits = pairs.traits(self.model.config)
        return traits.neg_elbo(terms, values) if traits.likelihood else None

    def _batch_of(self, x: Any) -> tuple[np.ndarray, bool]:
        """Return x as a batch, and True if x was a single image."""
        x = np.asarray(x)
        if x.dtype.kind != "f":
            self.check(x)
        single = x.shape == self.shape
        if not single and (x.shape[1:] != self.shape or len(x) == 0):
            shape = ", ".join(map(str, self.shape))
            takes = f"({shape}{',' if len(self.shape) == 1 else ''}) or (N, {shape}) with N >= 1"
            raise ValueError(f"x: got shape {x.shape}, takes {takes}")
        return (x[None] if single else x), single
