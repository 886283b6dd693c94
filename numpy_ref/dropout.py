"""Dropout in a recurrent network: the masks, and what they do.   Right: torch_impl/dropout.py

The schemes are in model_specs.dropout: a scheme is a mask shape and the places where it lies.
"""

from __future__ import annotations

import numpy as np

from model_specs.dropout import Masks, Plan
from model_specs.fields import check_rate
from model_specs.key import Key
from numpy_ref import random
from numpy_ref.module import Array, Module, Vjp


class Dropout(Module):
    """y = x m / (1 - p) in training, where m is 1 or 0; y = x in evaluation or without a mask.

    Shapes: x (T, B, W), mask (T or 1, B, W) bool. The mask is an argument: nothing is drawn here,
    and nothing is remembered from one call to the next.
    Source: inverted dropout, Srivastava et al. (2014), section 10. Raises: ValueError for a rate
    outside [0, 1).
    """

    def __init__(self, rate: float) -> None:
        check_rate("rate", rate)
        self.rate = rate

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Vjp]:
        m = self.scaled(mask, x.dtype)
        if m is None:
            return x, lambda dy: dy
        return x * m, lambda dy: dy * m

    def scaled(self, mask: Array | None, dtype: np.dtype) -> Array | None:
        """m / (1 - p) as numbers, or None where nothing is to be dropped."""
        if mask is None or not self.training:
            return None
        return mask.astype(dtype) * dtype.type(1 / (1 - self.rate))


def draw_masks(key: Key, plans: tuple[Plan, ...], batch_size: int, first: int = 0) -> Masks:
    """The masks that `model_specs.dropout.plan` asks for, (steps, B, width) each.

    Example n owns a stretch of each stream, whatever the batch: `first` is the number of the first
    example, so that a part of a batch gets the masks it would get in the whole.
    """
    found = {}
    for name, rate, steps, widths in plans:
        masks = []
        for place, width in enumerate(widths):
            stream = key.fold_in(name).fold_in(place)
            start = first * steps * width
            mask = random.dropout_mask(stream, (batch_size, steps, width), rate, start)
            masks.append(np.ascontiguousarray(mask.swapaxes(0, 1)))
        found[name] = tuple(masks)
    return Masks(**found)
