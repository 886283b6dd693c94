"""Random weights for a layer. The finite differences are in helpers/finite_differences.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers.finite_differences import derivative_errors
from helpers.finite_differences import total_loss as total_of

__all__ = ["derivative_errors", "filled", "total_of"]


def filled(layer: Any, rng: np.random.Generator) -> Any:
    """The layer, with random parameters."""
    for parameter in layer.parameters():
        parameter.data[...] = rng.normal(size=parameter.data.shape)
    return layer
