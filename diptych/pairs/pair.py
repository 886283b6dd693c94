"""A registered pair, and the properties of its models that training and evaluation need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diptych.data import Data
from diptych.pairs.latent import Latent
from model_specs.common.key import Key

Shape = tuple[int, int, int]
ValueFunction = Callable[[Any, Any, Any, Key], Any]
"""A function (model of either panel, batch, noise, key) -> arrays, without gradients"""


@dataclass(frozen=True)
class Memory:
    """Sizes that decide how much memory an evaluation takes (see diptych.evaluation.memory)."""

    widest: int
    """The number of values of one example in the widest layer."""
    columns: int = 0
    """The number of values in the widest convolution's matrix of patches of one example."""
    copies_weights: bool = False
    """True if a forward pass copies its weights to mask, normalise or reshape them."""


@dataclass(frozen=True)
class Traits:
    """Properties of a configured model that do not follow from its shapes.

    The defaults suit a model whose loss is the mean of the losses of its examples.
    """

    title: str = ""
    """The sizes of the model in a few words, for tables."""
    reduction: str = "mean"
    """The reduction of the loss over the batch: mean or sum."""
    divisible: bool = True
    """True if the loss of a batch is the sum or the mean of the losses of its parts. Only such a
    model can be trained by several ranks, each on a part of the batch."""
    least_batch: int = 1
    """The smallest number of examples in a training batch."""
    samples: int = 1
    """The number of draws of z for each example in the loss."""
    likelihood: bool = True
    """True if the loss is a bound on -log p(x), so that log p(x) can be estimated."""
    neg_elbo: Callable[[Mapping[str, float], int], float] = lambda terms, values: (
        terms["recon"] + terms["kl"]
    )
    """A function (loss terms of an example, its number of values) -> -ELBO in nats. It applies only
    if `likelihood` is true."""
    values: int | None = None
    """The number of values of an example that have a likelihood; None: all of them."""
    margin: float = 0.0
    """The share of the values that have none, because they are a black margin."""
    uniform: float | None = None
    """-log p(x) of the uniform distribution over the values that an example can have, in nats; None
    if the loss is no log-likelihood."""
    latent: Latent | None = None
    """The latent of a model of images, for pictures of it; None if it has none."""
    latent_maps: int = 0
    """The number of maps that the latent consists of, by which its KL term is split; 0 if none."""
    pixels_in_turn: int = 0
    """The number of pixels of an image that are drawn one after the other; 0 if all at once."""
    draws_reconstructions: bool = False
    """True if the pixels of a reconstruction are drawn, from a random stream of each example."""
    memory: Memory = Memory(widest=1)
    """The sizes from which the memory of an evaluation is estimated."""


@dataclass(frozen=True)
class Pair:
    """The two panels of a model, its configs, and the functions that make batches for it."""

    left: Any
    """The class of the model in NumPy."""
    right: Any
    """The class of the model in PyTorch."""
    variants: Mapping[str, Any]
    """The configs that `diptych check` compares, by name; "" is the default."""
    batch: Callable[[Any, Key, np.dtype, int], Any]
    """A function (config, key, dtype, batch size) -> a batch of random data."""
    sizes: Mapping[str, tuple[Any, int]]
    """The (config, batch size) of each benchmark, by name."""
    for_data: Callable[[Data, Mapping[str, Any]], Any]
    """A function (data, overrides) -> the config for training. It raises ValueError if the model
    does not take these data."""
    data: str
    """The name of the default data set, which needs no files."""
    window: Callable[..., Any] | None = None
    """For a model of sequences: a function (config, x, y, weight, state) -> a batch."""
    to_batch: Callable[[Any, np.ndarray, Shape], np.ndarray] | None = None
    """For a model of images: a function (config, rows (N, D), shape of an image) -> a batch. The
    rows are in [0, 1]."""
    to_images: Callable[[Any, np.ndarray, Shape], np.ndarray] | None = None
    """For a model of images: a function (config, output of the model, shape of an image) -> images
    (N, C, H, W) in [0, 1]."""
    evaluated: Callable[[Any, Shape], Any] = lambda config, shape: config
    """For a model of images: a function (config, shape of an image) -> the config of its
    evaluation, with which the weights still fit."""
    right_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Extra keywords of the right panel's constructor, by the name of the variant."""
    traits: Callable[[Any], Traits] = lambda config: Traits()
    """A function (config) -> its Traits."""
    values: Callable[[Any], Mapping[str, ValueFunction]] = lambda config: {}
    """A function (config) -> the values that `diptych check` compares in evaluation mode besides
    the loss, by name."""
    draws: Callable[[Any], Mapping[str, ValueFunction]] = lambda config: {}
    """Further values that change in jumps, as a random number falls below its threshold or not.
    They are compared in float64 alone: there a probability is off by about 1e-15, so that one draw
    in about 1e15 differs; in float32, one in about 1e6, and all pixels after it."""
    windows: Mapping[str, int] = field(default_factory=dict)
    """The number of consecutive windows of a variant's loss, by its name; 1 for all others."""

    @property
    def config(self) -> Any:
        """The class of the pair's configs."""
        return type(self.variants[""])

    @property
    def inputs(self) -> str:
        """The kind of data that the model takes: "sequences" or "images"."""
        return "images" if self.window is None else "sequences"


class MisfitError(ValueError):
    """A field of a config that does not fit the data."""

    def __init__(self, data: Data, field: str, got: Any, takes: Any) -> None:
        super().__init__(f"{field}: got {got}, takes {takes} for {data.name}")
        self.field, self.got, self.takes = field, got, takes


def fitting(config: Any, data: Data, **sizes: Any) -> Any:
    """Return the config. Raises: MisfitError where a field does not fit the data."""
    for name, value in sizes.items():
        got = getattr(config, name)
        if got != value:
            raise MisfitError(data, name, got, value)
    return config
