"""A trained model as a function: images in, what it makes of them out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from diptych.arrays import to_numpy
from diptych.evaluation.elbo import per_example
from diptych.exercises.evaluation import negative_elbo
from diptych.panels import Panel
from model_specs.common.key import Key


class Prediction(NamedTuple):
    """What a model makes of N images; without the N, of one. NumPy arrays, on either panel."""

    mu: np.ndarray  # (N, Z), the mean of q(z|x)
    std: np.ndarray  # (N, Z), its standard deviation, never negative
    recon: np.ndarray  # as x, the decoder's mean at z = mu
    elbo: np.ndarray | None  # (N,), nats; None where the loss holds no bound


class Predictor:
    """A panel for inference: evaluation mode, no gradients, and the mode afterwards as it was.

    With batch normalisation or dropout an image is then read as it would be alone.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.example: tuple[int, ...] = panel.model.config.example_shape

    @torch.no_grad()
    def __call__(self, x: Any, key: Key = Key(0)) -> Prediction:  # noqa: B008  (immutable)
        """Read one image or several.

        The ELBO of image n is of the noise that `key` has for example n, so that its mean is
        that of `evaluate` with the same key. All else is without noise.
        Shapes: x (N, D) or (D,), of a convolutional model (N, C, S, S) or (C, S, S).
        Raises: ValueError for an x of wrong shape, dtype or range, NaN and inf too.
        """
        images, single = self._checked(x)
        with self.panel.evaluating():
            mu, std = self._posterior(images)
            recon = to_numpy(self.panel.model.reconstruct(self.panel.array(images)))
            elbo = self._elbo(images, key)
        if single:
            mu, std, recon, elbo = mu[0], std[0], recon[0], None if elbo is None else elbo[0]
        return Prediction(mu, std, recon, elbo)

    def _posterior(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """std is what z = mu + std eps gives at mu = 0, eps = 1, whatever the model's spread is."""
        model = self.panel.model
        mu, scale = self._value(model.encode(self.panel.array(images)))
        ones = 0 * model.draw_noise(Key(0), len(images)).eps + 1
        std = to_numpy(self._value(model.reparameterize(0 * mu, scale, ones)))
        return to_numpy(mu), np.abs(std.reshape(len(images), -1, mu.shape[1])[:, 0])

    def _elbo(self, images: np.ndarray, key: Key) -> np.ndarray | None:
        """One image at a time: a loss is averaged over its batch."""
        model, values = self.panel.model, images[0].size
        result = []
        for n in range(len(images)):
            noise = model.draw_noise(key, 1, first=n)
            terms = per_example(model.config, self.panel.terms(images[n : n + 1], noise), 1)
            result.append(negative_elbo(model.config, terms, values))
        return None if result[0] is None else -np.array(result, np.float64)

    def _value(self, result: Any) -> Any:
        """Without the vjp, which the left panel hands out with it."""
        return result[0] if self.panel.backend == "numpy" else result

    def _checked(self, x: Any) -> tuple[np.ndarray, bool]:
        """x as a batch, and whether it was one image."""
        x = np.asarray(x)
        if x.dtype.kind != "f":
            raise ValueError(f"x: got dtype {x.dtype}, takes floating-point numbers")
        single = x.shape == self.example
        if not single and (x.shape[1:] != self.example or len(x) == 0):
            one = ", ".join(map(str, self.example))
            takes = f"({one}{',' if len(self.example) == 1 else ''}) or (N, {one}) with N >= 1"
            raise ValueError(f"x: got shape {x.shape}, takes {takes}")
        return (x[None] if single else x), single
