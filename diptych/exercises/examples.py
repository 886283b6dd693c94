"""The interface of the exercises to their examples: images of a VAE, or tokens of a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from diptych import pairs
from diptych.panels import Panel
from model_specs.common.key import Key


class Examples(ABC):
    """The examples that one panel's model takes."""

    def __init__(self, panel: Panel) -> None:
        self.panel, self.model = panel, panel.model
        self.name = next(n for n, p in pairs.PAIRS.items() if p is pairs.of_model(panel.model))

    @abstractmethod
    def check(self, x: Any) -> None:
        """Raise ValueError for a data set of the wrong kind, or an empty one."""

    @abstractmethod
    def minibatches(self, x: np.ndarray, batch_size: int, key: Key, epoch: int) -> Iterator[Any]:
        """The batches of one epoch, as the model's loss takes them."""

    @abstractmethod
    def size(self, batch: Any) -> int:
        """The number of examples in a batch."""

    @abstractmethod
    def noise(self, key: Key, batch: Any) -> Any:
        """The noise that the loss of this batch needs."""

    def continued(self, batch: Any, state: Any) -> Any:
        """The batch, from the state that the batch before left."""
        return batch

    @abstractmethod
    def evaluate(self, x: np.ndarray, key: Key, batch_size: int) -> Any:
        """Score the model on a data set."""

    @abstractmethod
    def predict(self, x: Any, key: Key) -> Any:
        """Apply the model to examples."""
