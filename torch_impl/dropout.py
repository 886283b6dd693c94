"""Dropout in a recurrent network: the masks, and what they do.   Left: numpy_ref/dropout.py

The schemes are in model_specs.dropout: a scheme is a mask shape and the places where it lies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_specs.dropout import Masks, Plan
from model_specs.fields import check_rate
from model_specs.key import Key
from torch_impl import random


class Dropout(nn.Module):
    """y = x m / (1 - p) in training, where m is 1 or 0; y = x in evaluation or without a mask.

    Shapes: x (T, B, W), mask (T or 1, B, W) bool. The mask is an argument: nothing is drawn here,
    and nothing is remembered from one call to the next.
    Source: inverted dropout, Srivastava et al. (2014), section 10. Raises: ValueError for a rate
    outside [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        check_rate("rate", rate)
        self.rate = rate

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        m = self.scaled(mask, x.dtype)
        return x if m is None else x * m

    def scaled(self, mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """m / (1 - p) as numbers, or None where nothing is to be dropped."""
        if mask is None or not self.training:
            return None
        return mask.to(dtype) * (1 / (1 - self.rate))


def draw_masks(
    key: Key,
    plans: tuple[Plan, ...],
    batch_size: int,
    first: int = 0,
    device: torch.device | str | None = None,
) -> Masks:
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
            mask = random.dropout_mask(stream, (batch_size, steps, width), rate, start, device)
            masks.append(mask.swapaxes(0, 1).contiguous())
        found[name] = tuple(masks)
    return Masks(**found)
