"""What the tests of masked layers share: which pixels of y depend on which pixels of x."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.arrays import map_arrays, to_numpy


def run(layer: Any, *inputs: np.ndarray) -> Any:
    """What a layer of either panel gives, as arrays."""
    if isinstance(layer, nn.Module):
        return map_arrays(to_numpy, layer(*map(torch.from_numpy, inputs)))
    return layer(*inputs)[0]


def dependence(
    layer: Any, shape: tuple[int, int, int], channels: slice, rng: np.random.Generator
) -> Any:
    """(pixels of y, pixels of x) bool: whose change shows, to the last bit, in every channel of y;
    a tuple of them where the layer gives several.

    One pixel of x is changed at a time, in `channels` alone.
    """
    C, H, W = shape
    x = np.repeat(rng.normal(size=(1, *shape)), H * W, 0)
    moved = x.copy()
    for k, (h, v) in enumerate(np.ndindex(H, W)):
        moved[k, channels, h, v] += 1 + rng.random(C)[channels]
    before, after = run(layer, x), run(layer, moved)
    if isinstance(before, tuple):
        return tuple(map(_changes, before, after))
    return _changes(before, after)


def _changes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    changed = (after != before).reshape(len(before), -1, len(before))
    np.testing.assert_array_equal(changed.all(1), changed.any(1))
    return changed.all(1).T


def allowed(seen: Collection[tuple[int, int]], H: int, W: int) -> np.ndarray:
    """(pixels of y, pixels of x) bool, from the offsets that are seen."""
    pixels = list(np.ndindex(H, W))
    return np.array([[(a - h, b - v) in seen for a, b in pixels] for h, v in pixels])
