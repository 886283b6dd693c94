"""Pure functions. Each returns `(y, vjp)`; the derivative stands under the line it differentiates.

Right panel: torch.nn.functional, or a function of the same name.
"""

from __future__ import annotations

import numpy as np

from numpy_ref.module import Array, Vjp


def relu(x: Array) -> tuple[Array, Vjp]:
    """y = max(x, 0). Any shape. The derivative at 0 is taken as 0, as torch takes it."""
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (x > 0)


def tanh(x: Array) -> tuple[Array, Vjp]:
    """y = tanh(x). Any shape."""
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x). Any shape; no overflow, for the exponent is never positive. Value only."""
    e = np.exp(-np.abs(x))
    return np.maximum(e, x >= 0) / (1 + e)  # (1 or e) / (1 + e), without a branch
