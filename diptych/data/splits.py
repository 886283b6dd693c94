"""Checks of the three splits of a data set against each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np


def check_distinct(source: object, splits: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError if one split repeats another, from its first example to its last.

    `splits` are the images by the name that an error calls them, one a row. The examples of the
    shorter split are compared with as many of the longer, so a part of one that was stored twice is
    noticed as well. Single images that occur in two splits, as in published sets, are no fault, nor
    is one image that fills both splits.
    """
    for (name, first), (other, second) in combinations(splits.items(), 2):
        size = min(len(first), len(second))
        if size < 2 or not np.array_equal(first[0], second[0]):
            continue
        if np.array_equal(first[:size], second[:size]) and (first[:size] != first[0]).any():
            raise ValueError(
                f"{source}: {other}: found the images of {name} again, expected other images"
            )
