"""Checks of the values of an argument by a few numbers, which either panel computes from its array.

Each error names the argument, what it got and what it takes.

Units: those of the argument.
Source: own design.
"""

from __future__ import annotations

import math

from model_specs.common.fields import exact

LEVEL_TOLERANCE = 1e-3
"""Distance of 255 x from an integer with which x still is a level: float32 rounds by 2e-5."""


def check_finite(name: str, smallest: float, largest: float) -> None:
    """Raise ValueError unless the extremes are finite; both are NaN where any value is."""
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        raise ValueError(f"{name}: got NaN or inf, takes finite values")


def check_support(name: str, support: tuple[float, float], smallest: float, largest: float) -> None:
    """Raise ValueError unless the extremes are finite and in `support`, (low, high)."""
    check_finite(name, smallest, largest)
    low, high = support
    if smallest < low or largest > high:
        raise ValueError(
            f"{name}: got values from {exact(smallest)} to {exact(largest)}, "
            f"takes [{low:g}, {high:g}]"
        )


def check_no_grey(name: str, count: float, smallest: float) -> None:
    """Raise ValueError unless `count`, the number of values between 0 and 1, is 0.

    `smallest` is the smallest of them.
    """
    if count:
        raise ValueError(
            f"{name}: got {int(count)} values such as {exact(smallest)}, takes 0 and 1"
        )


def check_no_between(name: str, count: float, smallest: float) -> None:
    """Raise ValueError unless `count`, the number of values between two levels, is 0.

    `smallest` is the smallest of them.
    """
    if count:
        raise ValueError(
            f"{name}: got {int(count)} values such as {exact(smallest)}, takes the 256 levels "
            "0, 1/255, ..., 1"
        )


def check_vocabulary(name: str, size: int, smallest: float, largest: float) -> None:
    """Raise ValueError unless the extremes are in [0, size)."""
    if smallest < 0 or largest >= size:
        raise ValueError(
            f"{name}: got values from {int(smallest)} to {int(largest)}, takes [0, {size})"
        )


def check_weights(name: str, smallest: float, largest: float) -> None:
    """Raise ValueError unless the extremes are finite, and those of weights: >= 0 and > 0."""
    check_finite(name, smallest, largest)
    if not (smallest >= 0 and largest > 0):
        raise ValueError(
            f"{name}: got a negative one or zeros alone, takes weights >= 0 with a sum > 0"
        )
