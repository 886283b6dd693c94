"""The error of a tensor: normwise, by islands of magnitude, and in units in the last place."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

GAP = 10
"""Binades that hold no element and so separate two islands of magnitude: a factor of 1024."""


def normwise(array: np.ndarray, reference: np.ndarray) -> float:
    """‖array - reference‖ / ‖reference‖; 0 where both are zero, inf where only one is."""
    scale = float(np.abs(reference).max(initial=0.0))
    if scale == 0:
        return 0.0 if not array.any() else math.inf
    # scaled first: squares of numbers below 1e-162 underflow, squares above 1e154 overflow
    difference = np.linalg.norm(array / scale - reference / scale)
    return float(difference / np.linalg.norm(reference / scale))


def norm(array: np.ndarray) -> float:
    """‖array‖, which neither overflows nor underflows on the way."""
    scale = float(np.abs(array).max(initial=0.0))
    if scale == 0 or not math.isfinite(scale):
        return scale
    return scale * float(np.linalg.norm(array / scale))


def islands(
    array: np.ndarray, reference: np.ndarray, least_normal: float = 0.0
) -> Iterator[np.ndarray | None]:
    """Masks of the elements that lie together in magnitude, the largest island first.

    A norm over a whole tensor is blind to elements far below the largest: beside one masked score
    of -1e9, a difference of 1e-5 in all others is an error of 1e-14. So a tensor is judged in
    islands: two elements are in different islands if at least GAP consecutive binades between them
    hold no element (max(|array|, |reference|) counts). The tensors of most layers are one island;
    then the only item is None, which stands for all elements.

    Elements that are 0 on both sides belong to none, nor do those below `least_normal`, the
    smallest normal number of the dtype: they are rounded to multiples of the smallest subnormal,
    or to 0, and so have no relative precision of their own.
    """
    magnitudes = np.maximum(np.abs(array), np.abs(reference))
    nonzero = magnitudes > least_normal
    exponents = np.frexp(magnitudes)[1]
    known = exponents[nonzero]
    if not known.size or known.max() - (least := known.min()) <= GAP:
        yield None
        return
    present = np.flatnonzero(np.bincount(known - least))
    breaks = np.flatnonzero(np.diff(present) > GAP)
    if not breaks.size:
        yield None
        return
    starts = [present[0], *present[breaks + 1]]
    ends = [*present[breaks], present[-1]]
    for start, end in zip(reversed(starts), reversed(ends), strict=True):
        inside = (exponents - least >= start) & (exponents - least <= end)
        yield inside & nonzero


def in_ulp(array: np.ndarray, reference: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """|array - reference| of each element, in units in the last place of the reference."""
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(reference).astype(dtype)).astype(np.float64)
        return np.abs(array - reference) / unit
