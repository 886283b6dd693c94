"""What the hinge must know of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.data import Data
from model_specs.key import Key


@dataclass(frozen=True)
class Pair:
    """A model's two panels, the configs it is checked in, and how to make a batch for one."""

    left: Any
    right: Any
    variants: Mapping[str, Any]
    """Configs by name; "" is the one that the bare name of the pair means."""
    batch: Callable[[Any, Key, np.dtype, int], Any]
    """(config, key, dtype, batch size) -> a batch of random data"""
    sizes: Mapping[str, tuple[Any, int]]
    """(config, batch size) by name, for benchmarks"""
    for_data: Callable[[Data, Mapping[str, Any]], Any]
    """(data, overrides) -> the config to train with; ValueError where they do not go together"""
    data: str
    """what it is trained on where nothing is named: data that needs no files"""
    window: Callable[..., Any] | None = None
    """(config, x, y, weight, state) -> a batch, of a model that reads sequences"""
