"""Linear models of scikit-learn that read a property of an image from a code or from pixels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from diptych.data import Dataset
from diptych.data.colour_digits import Factors, load_factors
from diptych.lab.windows import subset

PENALTIES = tuple(10.0**power for power in range(-1, 6))
"""Penalties of the ridge regression, for inputs of unit variance."""


class FactorReaders:
    """Linear models that read the colour, the digit and the texture from a code or from pixels.

    Each is fitted on the first `count` of the training images, and scored on the test images. z is
    sampled: mu may still reveal a factor if the posterior has collapsed to the prior, although z
    then carries no information.
    """

    def __init__(self, data: Dataset, count: int) -> None:
        self.data = data
        factors = load_factors(data.image_shape[-1])
        self.train_rows, self.test_rows = (subset(data, name) for name in ("train", "test"))
        self.train_rows = self.train_rows[:count]
        self.train = Factors(*(values[self.train_rows] for values in factors["train"]))
        self.test = Factors(*(values[self.test_rows] for values in factors["test"]))

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
            shares[name] = explained(fit_regression(train, targets), test, held_out)
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
    """Fit a ridge regression on standardised inputs; leave-one-out errors choose its penalty.

    Shapes: inputs (N, D), targets (N, T).
    """
    from sklearn.linear_model import RidgeCV  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(inputs, targets)


def explained(model: Any, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """R^2 = 1 - sum (t - prediction)^2 / sum (t - mean t)^2 of each target.   -> (T,)

    It is 0 for the mean of the targets as prediction, and negative for a worse one.
    """
    errors = np.square(targets - model.predict(inputs)).sum(0)
    return 1 - errors / np.square(targets - targets.mean(0)).sum(0)
