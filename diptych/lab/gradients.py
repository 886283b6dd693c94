"""Gradients by four estimators, as rows of numbers, and the mean and variance of many."""

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

WAYS = ("A", "B", "score", "score + baseline")
PARTS = ("encoder", "whole")


def both(model: MLPVAE) -> dict[str, MLPVAE]:
    """Copies of the model with the two estimators of the KL term, "A" and "B" of the paper."""
    twins = {}
    for estimator in ("A", "B"):
        twins[estimator] = MLPVAE(replace(model.config, estimator=estimator))
        twins[estimator].load_state_dict(model.state_dict())
    return twins


def gradient(twins: dict[str, MLPVAE], way: str, x: np.ndarray, noise: MLPVAENoise) -> np.ndarray:
    """One estimate of d loss / d parameters, in one row, the encoder first."""
    model = twins["B" if way == "B" else "A"]
    model.zero_grad()
    if way in ("A", "B"):
        _, backward = model.loss(x, noise)
    else:
        baseline = "leave_one_out" if way == "score + baseline" else "none"
        _, backward = score_function_loss(model, x, noise, baseline=baseline)
    backward()
    return np.concatenate([grad.ravel() for grad in model.gradients().values()])


def encoder_size(model: MLPVAE) -> int:
    names = [(n, p.data.size) for n, p in model.named_parameters()]
    return sum(size for name, size in names if name.startswith(("encoder", "posterior")))


def estimates(
    model: MLPVAE, way: str, x: np.ndarray, L: int, count: int, key: Key
) -> Iterator[np.ndarray]:
    twins = both(model)
    for i in range(count):
        noise = model.draw_noise(key.fold_in(way).fold_in(L).fold_in(i), len(x), samples=L)
        yield gradient(twins, way, x, noise)


class Moments:
    """Mean and variance of a gradient, part by part, from estimates that are not kept."""

    def __init__(self, centre: np.ndarray, encoder: int) -> None:
        self.centre, self.ends = centre, {"encoder": encoder, "whole": len(centre)}
        self.total = np.zeros_like(centre)
        self.squares: dict[str, list[float]] = {part: [] for part in PARTS}
        self.along: list[float] = []

    def add(self, gradient: np.ndarray) -> None:
        difference = gradient - self.centre
        self.total += difference
        for part, end in self.ends.items():
            self.squares[part].append(float(difference[:end] @ difference[:end]))
        end = self.ends["encoder"]
        direction = self.centre[:end]
        self.along.append(float(difference[:end] @ direction / max(direction @ direction, 1e-300)))

    def summary(self) -> dict[str, Any]:
        """For each part: trace of the covariance of one estimate, and its standard error; norm of
        the mean's distance from the centre, and what that is by chance. `along`: that distance in
        the direction of the centre and as a share of it, for the encoder; 0 where unbiased."""
        count = len(self.along)
        result: dict[str, Any] = {}
        for part, end in self.ends.items():
            squares = np.array(self.squares[part])
            off = float(np.linalg.norm(self.total[:end]) / count)
            # where there is none, the difference is rounding, of either sign
            variance = max(squares.mean() - off**2, 0.0) * count / (count - 1)
            result[part] = {
                "variance": float(variance),
                "variance_error": float(squares.std(ddof=1) / math.sqrt(count)),
                "bias": off,
                "bias_error": math.sqrt(variance / count),
            }
        result["along"] = float(np.mean(self.along))
        result["along_error"] = float(np.std(self.along, ddof=1) / math.sqrt(count))
        return result
