"""Data sets by name: each comes as float32 rows in [0, 1], in three splits, with what was found."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from diptych.data import digits, mnist, static_mnist
from diptych.data.dataset import Dataset, Root, Split

__all__ = ["DATASETS", "Dataset", "Split", "load"]

DATASETS: dict[str, Callable[[Root], Dataset]] = {
    "digits": digits.load,
    "mnist": mnist.load,
    "static_mnist": static_mnist.load,
}


def load(name: str, root: Root = None) -> Dataset:
    """The data set called `name`, read from `root` or DIPTYCH_DATA unless it is embedded.

    Raises: ValueError for a name not in DATASETS, and all that the data set's reader raises.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(str(name).lower(), DATASETS, n=1, cutoff=0.5)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"name: got {name!r}, takes one of {', '.join(map(repr, DATASETS))}{hint}")
    return DATASETS[name](root)
