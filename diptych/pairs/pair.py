"""What the hinge must know of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diptych.data import Data
from model_specs.common.key import Key

Shape = tuple[int, int, int]


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
    to_batch: Callable[[Any, np.ndarray, Shape], np.ndarray] | None = None
    """(config, rows (N, D) in [0, 1], shape of an image) -> a batch, of a model of images"""
    to_images: Callable[[Any, np.ndarray, Shape], np.ndarray] | None = None
    """(config, what the model makes of a batch, shape of an image) -> (N, C, H, W) in [0, 1]"""
    right_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """further keywords of the right panel's constructor, by the name of the variant"""


def fitting(config: Any, data: Data, **sizes: Any) -> Any:
    """The config. Raises: ValueError where a field is not what the data asks for."""
    for name, value in sizes.items():
        got = getattr(config, name)
        if got != value:
            raise ValueError(f"{name}: got {got}, takes {value} for {data.name}")
    return config
