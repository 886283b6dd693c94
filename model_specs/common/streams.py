"""Constants of Philox4x32-10, and checks of the arguments of a random stream."""

from __future__ import annotations

import operator

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

Shape = int | tuple[int, ...]


def as_shape(shape: Shape) -> tuple[int, ...]:
    """`shape` as a tuple of ints. Raises ValueError for a negative size."""
    sizes = tuple(map(operator.index, shape if isinstance(shape, tuple | list) else (shape,)))
    if any(n < 0 for n in sizes):
        raise ValueError(f"shape: got {shape!r}, takes sizes >= 0")
    return sizes


def check_start(start: int) -> None:
    """Raise ValueError unless `start` is an element index >= 0."""
    if start < 0:
        raise ValueError(f"start: got {start!r}, takes an element index >= 0")


def keep_threshold(rate: float) -> int:
    """round(2^32 rate), the smallest random word for which a dropout mask keeps a unit.

    Raises: ValueError for a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate: got {rate!r}, takes a number in [0, 1)")
    return round(rate * 2**32)
