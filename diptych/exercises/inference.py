"""Evaluation and inference with a trained model."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.exercises.images import Prediction, Scores
from diptych.exercises.kinds import examples_of
from diptych.exercises.text import TextPrediction, TextScores
from diptych.panels import Panel
from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key


def evaluate(panel: Panel, x: np.ndarray, key: Key, batch_size: int = 500) -> Scores | TextScores:
    """Score a model on all of x, in evaluation mode, `batch_size` images or tokens at a time.

        -ELBO = (1/N) sum_n E_q[-log p(x_n|z)] + KL(q(z|x_n) || p(z))
        RMSE = sqrt((1/(N D)) sum_nd (recon_nd - x_nd)^2),   recon at z = mu(x)
        perplexity = exp((1/(N-1)) sum_n -log p(x_n+1 | x_1 ... x_n))

    The ELBO has the noise that `key` names, example by example, so the result does not depend on
    `batch_size`. beta is not used, because it is a weight of the training loss.
    Shapes: x images (N, ...), D values an example; or tokens (N,), N >= 2.
    Raises: ValueError for x that the model refuses, or that is empty.
    """
    check_positive_int("batch_size", batch_size)
    examples = examples_of(panel)
    examples.check(x)
    return examples.evaluate(x, key, batch_size)


class Predictor:
    """A panel for inference: evaluation mode, no gradients; the mode is restored afterwards.

    With batch normalisation or dropout an image then gives the same outputs alone and in a batch.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._examples = examples_of(panel)

    def __call__(
        self,
        x: Any,
        key: Key = Key(0),  # noqa: B008  (immutable)
    ) -> Prediction | TextPrediction:
        """Apply the model to one image or several, or to one text.

        The ELBO of image n takes the noise that `key` has for example n, so its mean is the
        ELBO of `evaluate` with the same key. The other outputs have no noise.
        Shapes: x images (N, ...) or one without the N, in the model's shape; or tokens (N,).
        Raises: ValueError for an x of wrong shape, dtype or range, NaN and inf too.
        """
        return self._examples.predict(x, key)
