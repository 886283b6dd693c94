"""The check and the values without gradients that the autoencoders share."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.pairs.pair import ValueFunction
from model_specs.common.fields import exact
from model_specs.common.key import Key
from model_specs.common.levels import LEVELS
from model_specs.common.values import LEVEL_TOLERANCE
from model_specs.vlae import MIXTURE

COUNT = 5
"""Number of samples that are compared."""
SAMPLES = 3
"""Number of draws of z for each example in log_weight."""


def check_levels(rows: np.ndarray, field: str) -> None:
    """Raise ValueError unless the images take the mixture that `field` of the config names."""
    levels = (LEVELS - 1) * rows
    between = rows[np.abs(levels - np.rint(levels)) > LEVEL_TOLERANCE]
    if between.size:
        got = f"got values between levels, such as {exact(between.min())}"
        raise ValueError(f"data: {got}, {field} {MIXTURE} takes 0, 1/255, ..., 1")


def values(*, likelihood: bool) -> dict[str, ValueFunction]:
    """Means of samples, reconstructions, and log_weight of a model that has a likelihood."""
    functions: dict[str, ValueFunction] = {
        "sample": sample(mean=True),
        "reconstruct": lambda model, x, noise, key: model.reconstruct(x),
    }
    return functions | ({"log_weight": log_weight} if likelihood else {})


def sample(*, mean: bool) -> ValueFunction:
    """Samples of x, or with `mean` the means of p(x|z)."""
    return lambda model, x, noise, key: model.sample(key, COUNT, mean=mean)


def log_weight(model: Any, x: Any, noise: Any, key: Key) -> Any:
    """log w of several draws of z for each example, drawn by the model itself."""
    return model.log_weight(x, model.draw_noise(key, len(x), samples=SAMPLES))
