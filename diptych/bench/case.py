"""`Case`: the configuration, the batch size and the dtype that are timed, and their random data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from diptych import pairs
from diptych.pairs.pair import Pair
from model_specs.common.key import Key
from numpy_ref.nn.module import as_dtype

KEY = Key(0).fold_in("bench")


class Recipe(NamedTuple):
    """The optimiser of a model's training step, and what else belongs to the step."""

    optimizer: str = "Adam"
    """The name of the class in numpy_ref.nn.optim and in torch.optim"""
    clip: float | None = None
    """The norm to which gradients are clipped; None if they are not"""
    draws_masks: bool = False
    """True if each call draws its dropout masks, as in training. Otherwise the noise of the loss
    is drawn once, before the clock starts."""


RECIPES = {
    "vlae": Recipe("Adamax"),
    "rnn": Recipe("SGD", 5.0, draws_masks=True),
    "lstm": Recipe("SGD", 5.0, draws_masks=True),
}
"""Source: the presets of diptych.training; Adam without clipping for all other models."""
LR = 1e-3


@dataclass(frozen=True)
class Case:
    """One configuration of a model, by its name in `Pair.sizes`, at one batch size and dtype."""

    model: str
    size: str
    batch_size: int
    dtype: str
    has_no_masks: bool = False
    """True to leave out the dropout of a recurrent model"""

    @property
    def pair(self) -> Pair:
        """The registered pair of the model."""
        return pairs.get(self.model)

    @property
    def config(self) -> Any:
        """The config of the model."""
        config = self.pair.sizes[self.size][0]
        drops = self.has_no_masks and self.pair.inputs == "sequences"
        return replace(config, scheme="none", rate=0.0) if drops else config

    def without_dropout(self) -> Case:
        """The case of the same model without dropout."""
        return replace(self, has_no_masks=True)

    @property
    def recipe(self) -> Recipe:
        """The optimiser and the clipping of the training step."""
        return RECIPES.get(self.model, Recipe())

    @property
    def words(self) -> int:
        """Predicted words of a batch: time steps times sequences; 0 for a model of images."""
        if self.pair.inputs != "sequences":
            return 0
        return int(self.config.seq_len) * self.batch_size

    def batch(self) -> Any:
        """A batch of random data as NumPy arrays; the words of a sequence have equal weights."""
        batch = self.pair.batch(self.config, KEY, as_dtype(self.dtype), self.batch_size)
        return batch if self.pair.inputs == "images" else batch._replace(weight=None)

    @property
    def name(self) -> str:
        """The case in words, for messages."""
        return f"{self.model}, {configuration(self.size)}, batch {self.batch_size}, {self.dtype}"


def configuration(size: str) -> str:
    """The name of a size without its batch: "784-400-20" of "784-400-20, batch 128"."""
    return size.rpartition(", batch ")[0] or size
