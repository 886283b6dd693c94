"""A registered pair, and the properties of its models that training and evaluation ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diptych.data import Data
from model_specs.common.key import Key

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Memory:
    """Sizes that decide how much memory an evaluation takes (see diptych.evaluation.memory)."""

    widest: int
    """values of one example in the widest layer"""
    columns: int = 0
    """values of one example that the taps of a convolution read side by side, in the widest layer
    """
    copies_weights: bool = False
    """True where a forward pass copies its weights: masked, normalised, or as a matrix"""


@dataclass(frozen=True)
class Traits:
    """Properties of a configured model that its shapes and equations do not say.

    The defaults are those of a model whose loss is the mean of its examples' losses.
    """

    title: str = ""
    """sizes in a few words, for tables"""
    reduction: str = "mean"
    """of the loss over the batch: mean or sum"""
    divisible: bool = True
    """True where the loss of a batch is the sum or mean of the losses of its parts, so that several
    ranks may each take a part"""
    least_batch: int = 1
    """the fewest examples that a training batch may have"""
    samples: int = 1
    """draws of z per example in the loss"""
    likelihood: bool = True
    """True where the loss bounds -log p(x), so that log p(x) can be estimated"""
    neg_elbo: Callable[[Mapping[str, float], int], float] = lambda terms, values: (
        terms["recon"] + terms["kl"]
    )
    """(loss terms of an example, its number of values) -> -ELBO in nats; for `likelihood` alone"""
    pixels_in_turn: int = 0
    """pixels of an image that are drawn one after the other"""
    draws_reconstructions: bool = False
    """True where the pixels of a reconstruction are drawn, by a stream of the example's own"""
    memory: Memory = Memory(widest=1)


@dataclass(frozen=True)
class Pair:
    """The two panels of a model, the configs it is checked in, and how to make a batch for one."""

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
    """the name of the default data set, which needs no files"""
    window: Callable[..., Any] | None = None
    """(config, x, y, weight, state) -> a batch, of a model that reads sequences"""
    to_batch: Callable[[Any, np.ndarray, Shape], np.ndarray] | None = None
    """(config, rows (N, D) in [0, 1], shape of an image) -> a batch, of a model of images"""
    to_images: Callable[[Any, np.ndarray, Shape], np.ndarray] | None = None
    """(config, output of the model, shape of an image) -> images (N, C, H, W) in [0, 1]"""
    right_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """further keywords of the right panel's constructor, by the name of the variant"""
    traits: Callable[[Any], Traits] = lambda config: Traits()
    """(config) -> its Traits"""

    @property
    def config(self) -> Any:
        """The class of the pair's configs."""
        return type(self.variants[""])

    @property
    def inputs(self) -> str:
        """The kind of data that the model takes: "sequences" or "images"."""
        return "images" if self.window is None else "sequences"


def fitting(config: Any, data: Data, **sizes: Any) -> Any:
    """Return the config. Raises: ValueError where a field does not fit the data."""
    for name, value in sizes.items():
        got = getattr(config, name)
        if got != value:
            raise ValueError(f"{name}: got {got}, takes {value} for {data.name}")
    return config
