"""Linear models of scikit-learn that read a property of an image from a code or from pixels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from diptych.data import Dataset
from diptych.data.colour_digits import Factors, load_factors
from diptych.lab.windows import subset

PENALTIES = tuple(10.0**power for power in range(-1, 6))
"""Penalties of the ridge regression, one for each target, for inputs of unit variance."""
THINNING = 2
"""Distance of the rows, and of the columns, that `thinned` keeps."""


class FactorReaders:
    """Linear models that read the colour, the digit and the texture from a code or from pixels.

    Each is fitted on the first `count` of the training images, and scored on the test images. z is
    sampled: mu may still reveal a factor if the posterior has collapsed to the prior, although z
    then carries no information. `step` is THINNING if the images are thinned, and 1 otherwise.
    """

    def __init__(self, data: Dataset, count: int, step: int = 1) -> None:
        self.data = data
        self.train_rows = subset(data, "train")[:count]
        self.test_rows = subset(data, "test")
        self.train = _factors(data, "train", self.train_rows, step)
        self.test = _factors(data, "test", self.test_rows, step)

    def read(self, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
        """Return the scores on the test images.   train (N, ...), test (M, ...)"""
        train, test = (inputs.reshape(len(inputs), -1) for inputs in (train, test))
        classifier = fit_classifier(train, self.train.digit)
        shares = {}
        for name in ("colour", "texture"):
            targets, held_out = (
                getattr(factors, name).reshape(len(factors.digit), -1).astype(np.float64)
                for factors in (self.train, self.test)
            )
            shares[name] = explained(
                fit_regression(train, targets), test, held_out, targets.mean(0)
            )
        return {
            "colour": float(shares["colour"].mean()),
            "digit": float(classifier.score(test, self.test.digit)),
            "texture": float(shares["texture"].sum()),
        }

    def read_pixels(self) -> dict[str, float]:
        """Return the scores of the images themselves, for comparison."""
        return self.read(self.data.train.x[self.train_rows], self.data.test.x[self.test_rows])


def fit_classifier(inputs: np.ndarray, labels: np.ndarray) -> Any:
    """Fit a logistic regression on standardised inputs.   inputs (N, D), labels (N,)"""
    # imported here because it takes a second, which other experiments need not spend
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    with warnings.catch_warnings():  # an almost converged classifier is good enough
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
        return classifier.fit(inputs, labels)


def fit_regression(inputs: np.ndarray, targets: np.ndarray) -> Any:
    """Fit a ridge regression on standardised inputs; leave-one-out errors choose each penalty.

    Shapes: inputs (N, D), targets (N, T).
    """
    from sklearn.linear_model import RidgeCV  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES, alpha_per_target=True)).fit(
        inputs, targets
    )


def explained(model: Any, inputs: np.ndarray, targets: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """R^2 = 1 - sum (t - prediction)^2 / sum (t - m)^2 of each target.   -> (T,)

    m is the mean of the targets that the model was fitted on, which is the prediction of a model
    that reads nothing; so R^2 is 0 for it, and negative for a worse one.
    """
    errors = np.square(targets - model.predict(inputs)).sum(0)
    return 1 - errors / np.square(targets - mean).sum(0)


def thinned(data: Dataset) -> Dataset:
    """Return the coloured digits with every other row and column: 3 x 8 x 8 from 3 x 16 x 16."""
    C, H, W = data.image_shape
    splits = {}
    for name in ("train", "valid", "test"):
        split = getattr(data, name)
        x = split.x.reshape(-1, C, H, W)[:, :, ::THINNING, ::THINNING]
        splits[name] = replace(split, x=x.reshape(len(x), -1).copy())
    return replace(data, image_shape=(C, H // THINNING, W // THINNING), **splits)


def _factors(data: Dataset, split: str, rows: np.ndarray, step: int) -> Factors:
    """Factors of these rows of a split; the texture is that of the pixels that `thinned` keeps.

    The texture of an image depends on its size before thinning, which is `step` times its own.
    """
    whole = load_factors(step * data.image_shape[-1])[split]
    digit, colour, texture = (values[rows] for values in whole)
    return Factors(digit, colour, texture[:, ::step, ::step])
