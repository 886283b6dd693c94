"""Output activations of image decoders, and images without the margin around them.

Shapes: N images of C channels, S x S pixels.
Source: the definitions of torch.sigmoid and torch.tanh.
Right panel: torch_impl/nn/images.py
"""

from __future__ import annotations

import numpy as np

from numpy_ref.nn import functional
from numpy_ref.nn.module import Array, Vjp


def _sigmoid(x: Array) -> tuple[Array, Vjp]:
    """functional.sigmoid with a vjp, which the activation of the images needs."""
    y = functional.sigmoid(x)
    return y, lambda dy: dy * y * (1 - y)


def _identity(x: Array) -> tuple[Array, Vjp]:
    return x, lambda dy: dy


ACTIVATIONS = {"sigmoid": _sigmoid, "tanh": functional.tanh, "none": _identity}


def inside(x: Array, window: tuple[slice, slice]) -> tuple[Array, Vjp]:
    """The pixels of each image without the black margin around it.   x (N, C, S, S) -> (N, C, H, W)

    Shapes: N images of C channels, S x S pixels, of which `window` has H rows and W columns.
    """
    y = x[..., *window]

    def vjp(dy: Array) -> Array:
        dx = np.zeros_like(x)
        dx[..., *window] = dy.reshape(y.shape)
        return dx

    return y, vjp
