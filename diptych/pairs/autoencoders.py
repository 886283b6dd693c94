"""Values without gradients that the autoencoders share, for `diptych check`."""

from __future__ import annotations

from typing import Any

from diptych.pairs.pair import ValueFunction
from model_specs.common.key import Key

COUNT = 5
"""Number of samples that are compared."""
SAMPLES = 3
"""Number of draws of z for each example in log_weight."""


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
