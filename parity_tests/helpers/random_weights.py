"""Fill the parameters of a layer with random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def randomized(layer: Any, rng: np.random.Generator) -> Any:
    """Return the layer after setting every parameter to standard normal numbers."""
    for parameter in layer.parameters():
        parameter.data[...] = rng.normal(size=parameter.data.shape)
    return layer
