"""Gradients of a VAE by four estimators, and the mean and variance of many estimates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAENoise
from numpy_ref.mlp_vae import MLPVAE
from numpy_ref.score_function import score_function_loss

ESTIMATORS = ("A", "B", "score", "score + baseline")
"""A samples the KL and B has it in closed form, both reparameterised (Kingma & Welling 2013). score
is the score function estimator, also with a leave-one-out baseline."""
PARTS = ("encoder", "whole")
"""Parts of the gradient: of the encoder's parameters, and of all."""


def both_estimators(model: MLPVAE) -> dict[str, MLPVAE]:
    """Return copies of the model that use estimator A and estimator B."""
    models = {}
    for estimator in ("A", "B"):
        models[estimator] = MLPVAE(replace(model.config, estimator=estimator))
        models[estimator].load_state_dict(model.state_dict())
    return models


def gradient(
    models: dict[str, MLPVAE], estimator: str, x: np.ndarray, noise: MLPVAENoise
) -> np.ndarray:
    """Return one estimate of d loss / d parameters as a vector, the encoder first.

    `models` are those of `both_estimators`.
    """
    model = models["B" if estimator == "B" else "A"]
    model.zero_grad()
    if estimator in ("A", "B"):
        _, backward = model.loss(x, noise)
    else:
        baseline = "leave_one_out" if estimator == "score + baseline" else "none"
        _, backward = score_function_loss(model, x, noise, baseline=baseline)
    backward()
    return np.concatenate([grad.ravel() for grad in model.gradients().values()])


def encoder_size(model: MLPVAE) -> int:
    """Return the number of parameters of the encoder."""
    names = [(n, p.data.size) for n, p in model.named_parameters()]
    return sum(size for name, size in names if name.startswith(("encoder", "posterior")))


def estimates(
    model: MLPVAE, estimator: str, x: np.ndarray, L: int, count: int, key: Key
) -> Iterator[np.ndarray]:
    """Yield `count` gradients with L samples of z for each image, on independent noise."""
    models = both_estimators(model)
    for i in range(count):
        noise = model.draw_noise(key.fold_in(estimator).fold_in(L).fold_in(i), len(x), samples=L)
        yield gradient(models, estimator, x, noise)


class Moments:
    """Running mean and variance of gradient estimates, for each of PARTS.

    `centre` is a reference that differences are taken from; `encoder` is the encoder's size.
    """

    def __init__(self, centre: np.ndarray, encoder: int) -> None:
        self.centre, self.ends = centre, {"encoder": encoder, "whole": len(centre)}
        self.total = np.zeros_like(centre)
        self.squares: dict[str, list[float]] = {part: [] for part in PARTS}
        self.along: list[float] = []

    def add(self, gradient: np.ndarray) -> None:
        """Add one estimate."""
        difference = gradient - self.centre
        self.total += difference
        for part, end in self.ends.items():
            self.squares[part].append(float(difference[:end] @ difference[:end]))
        end = self.ends["encoder"]
        direction = self.centre[:end]
        self.along.append(float(difference[:end] @ direction / max(direction @ direction, 1e-300)))

    def summary(self) -> dict[str, Any]:
        """Return variance and bias for each part, and the encoder's bias along the gradient.

        variance, variance_error: trace of the covariance of one estimate, and its standard error.
        bias, bias_error: norm of mean - centre, and its expectation for an unbiased estimator.
        along, along_error: projection of mean - centre on the centre, as a share of the centre.
        """
        count = len(self.along)
        result: dict[str, Any] = {}
        for part, end in self.ends.items():
            squares = np.array(self.squares[part])
            bias = float(np.linalg.norm(self.total[:end]) / count)
            # max, because rounding can make a variance of 0 negative
            variance = max(squares.mean() - bias**2, 0.0) * count / (count - 1)
            result[part] = {
                "variance": float(variance),
                "variance_error": float(squares.std(ddof=1) / math.sqrt(count)),
                "bias": bias,
                "bias_error": math.sqrt(variance / count),
            }
        result["along"] = float(np.mean(self.along))
        result["along_error"] = float(np.std(self.along, ddof=1) / math.sqrt(count))
        return result
