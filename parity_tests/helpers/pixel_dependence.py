"""Measured and expected dependence of output pixels on input pixels, for masked layers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from helpers.run_layers import outputs_of


def dependence(
    layer: Any, shape: tuple[int, int, int], channels: slice, rng: np.random.Generator
) -> Any:
    """Matrix (pixels of y, pixels of x), True where a change of x changes every channel of y.

    One pixel of x is changed at a time, in `channels` alone. For a layer of several outputs the
    result is a tuple of matrices.
    """
    C, H, W = shape
    x = np.repeat(rng.normal(size=(1, *shape)), H * W, 0)
    changed = x.copy()
    for k, (h, v) in enumerate(np.ndindex(H, W)):
        changed[k, channels, h, v] += 1 + rng.random(C)[channels]
    before, after = outputs_of(layer, x), outputs_of(layer, changed)
    changes = tuple(map(_changes, before, after))
    return changes if len(changes) > 1 else changes[0]


def _changes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    changed = (after != before).reshape(len(before), -1, len(before))
    np.testing.assert_array_equal(changed.all(1), changed.any(1))
    return changed.all(1).T


def expected_dependence(offsets: Collection[tuple[int, int]], H: int, W: int) -> np.ndarray:
    """Matrix (pixels of y, pixels of x), True where x lies at one of the offsets from y."""
    pixels = list(np.ndindex(H, W))
    return np.array([[(a - h, b - v) in offsets for a, b in pixels] for h, v in pixels])
