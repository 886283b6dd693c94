"""The error of a tensor: normwise, by element, and in units in the last place."""

from __future__ import annotations

import math

import numpy as np

WINDOW = 8
"""Binades over which the differences of larger elements explain those of smaller ones."""
NEIGHBOURS = 16
"""Ratio of the differences of two elements that both are rounding errors of like sums."""


def normwise(array: np.ndarray, reference: np.ndarray) -> float:
    """‖array - reference‖ / ‖reference‖; 0 where both are zero, inf where only one is."""
    scale = float(np.abs(reference).max(initial=0.0))
    if scale == 0:
        return 0.0 if not array.any() else math.inf
    # scaled first: squares of numbers below 1e-162 underflow, squares above 1e154 overflow
    with np.errstate(over="ignore"):  # an array beyond 1e154 times its reference: the error is inf
        difference = np.linalg.norm(array / scale - reference / scale)
    return float(difference / np.linalg.norm(reference / scale))


def norm(array: np.ndarray) -> float:
    """‖array‖, which neither overflows nor underflows on the way."""
    scale = float(np.abs(array).max(initial=0.0))
    if scale == 0 or not math.isfinite(scale):
        return scale
    return scale * float(np.linalg.norm(array / scale))


def unexplained(
    array: np.ndarray, reference: np.ndarray, bound: float, least_normal: float
) -> np.ndarray | None:
    """Mask of the elements whose difference is no rounding error, by a first and cheap test.

    A norm over a whole tensor is blind to elements far below the largest: beside one masked score
    of -1e9, a difference of 1e-5 in all others is an error of 1e-14. So each element is judged by
    itself. Its difference is explained if one of these holds, with size the larger of |array| and
    |reference|:

    1. difference <= bound * size.
    2. difference <= least_normal, the smallest normal number.
    3. Elements up to WINDOW binades larger, or of its own binade, have explained differences of at
       least 1 / NEIGHBOURS of its own: the rounding errors of a sum depend on its summands, and so
       are alike in large and in small elements.

    None if every element is explained.
    """
    with np.errstate(all="ignore"):
        difference = np.abs(array - reference)
    size = np.maximum(np.abs(array), np.abs(reference))
    bad = difference > np.maximum(bound * size, least_normal)
    if not bad.any():
        return None
    differing = difference > 0
    exponents = np.frexp(size)[1]
    explained: dict[int, float] = {}
    for binade in sorted({int(e) for e in np.unique(exponents[differing])}, reverse=True):
        inside = differing & (exponents == binade)
        own = float(difference[inside & ~bad].max(initial=0.0))
        nearby = (explained.get(binade + i, 0.0) for i in range(1, WINDOW + 1))
        accepted = inside & bad & (difference <= NEIGHBOURS * max(own, *nearby))
        bad &= ~accepted
        explained[binade] = max(own, float(difference[accepted].max(initial=0.0)))
    return bad if bad.any() else None


def noise_level(noise: np.ndarray, reference: np.ndarray, mask: np.ndarray | None) -> float:
    """The norm of the noise in the elements of a mask.

    A single element may have little noise by chance. So it is at least the root mean square over
    all elements of about the same size.
    """
    if mask is None:
        return norm(noise)
    size = np.abs(reference)
    similar = (size >= size[mask].min() / 8) & (size <= size[mask].max() * 8)
    count, all_similar = int(mask.sum()), int(similar.sum())
    return max(norm(noise[mask]), norm(noise[similar]) * math.sqrt(count / all_similar))


def in_ulp(array: np.ndarray, reference: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """|array - reference| of each element, in units in the last place of the reference."""
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(reference).astype(dtype)).astype(np.float64)
        return np.abs(array - reference) / unit
