"""Output activations of image decoders, and images without the margin around them.

Shapes: N images of C channels, S x S pixels.
Source: the definitions of torch.sigmoid and torch.tanh.
Left panel: numpy_ref/nn/images.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "none": _identity,
}


def inside(x: Tensor, window: tuple[slice, slice]) -> Tensor:
    """The pixels of each image without the black margin around it.   x (N, C, S, S) -> (N, C, H, W)

    Shapes: N images of C channels, S x S pixels, of which `window` has H rows and W columns.
    """
    return x[..., *window]
