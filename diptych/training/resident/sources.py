"""The batches and the noise of several steps at once, on the device of the model.

Every step gets the numbers of Task.training_batch; only the place where they are drawn differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych import pairs
from diptych.panels import TorchPanel
from diptych.tasks import Task
from diptych.tasks.images import Images
from diptych.tasks.language import Language
from diptych.tasks.memory import Memory
from model_specs.common.key import Keys
from torch_impl.nn import random


class Source(ABC):
    """The training data of a task on the device of its panel.

    Shapes: S steps; each array of a batch or of its noise gets S as its first axis.
    """

    carries = False
    """True if a step within an epoch continues the sequences of the step before."""
    draws_inputs = False
    """True if the inputs are random, drawn again at every step."""

    def __init__(self, task: Any, panel: TorchPanel) -> None:
        self.task, self.panel = task, panel

    def steps_alike(self, index: int) -> int:
        """The number of steps from `index` of an epoch whose batches have the same shapes."""
        return int(self.task.steps_per_epoch - index)

    @abstractmethod
    def size(self, index: int) -> int:
        """The number of examples of step `index` of an epoch."""

    @abstractmethod
    def units(self, index: int) -> int:
        """The number of the task's units, images or tokens, in that step."""

    def draw(self, step: int, count: int) -> tuple[Any, Any]:
        """The inputs and the noise of `count` steps from `step` on, within an epoch."""
        epoch, index = divmod(step, self.task.steps_per_epoch)
        keys = Keys(self.task.key, range(step, step + count))
        noise = self._noise(keys.fold_in("noise"), self.size(index))
        return self._inputs(keys, epoch, index, count), noise

    @abstractmethod
    def _inputs(self, keys: Keys, epoch: int, index: int, count: int) -> Any:
        """The inputs of the model; a recurrent model's without its state."""

    def _noise(self, keys: Keys, size: int) -> Any:
        return self.panel.model.draw_noise(keys, size)


class ImageSource(Source):
    """Images in the order of the epoch; binarised by one draw for the pixels of all S steps."""

    def __init__(self, task: Images, panel: TorchPanel) -> None:
        super().__init__(task, panel)
        self.draws_inputs = task.binarises
        rows = task.training_rows
        if task.binarises:  # the probability of each pixel, and its two values in the batch
            self.images = torch.from_numpy(rows).to(panel.model.device)
            black, white = (np.full_like(rows[:1], value) for value in (0, 1))
            black, white = (task.examples(panel, row) for row in (black, white))
            places = np.flatnonzero(black != white)  # a margin is black in both
            self.black, self.white = panel.array(black[0]), panel.array(white[0])
            self.places = None if len(places) == black.size else panel.array(places)
        else:
            self.images = panel.array(task.examples(panel, rows))
        self._order: tuple[int, Tensor] | None = None

    def steps_alike(self, index: int) -> int:
        last = self.task.steps_per_epoch - 1
        return last + 1 - index if self.size(last) == self.size(index) else max(1, last - index)

    def size(self, index: int) -> int:
        batch, count = self.task.config.batch_size, len(self.images)
        last = index == self.task.steps_per_epoch - 1
        return int(count - index * batch if last else batch)

    def units(self, index: int) -> int:
        return self.size(index)

    def _inputs(self, keys: Keys, epoch: int, index: int, count: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            key = self.task.key.fold_in("order").fold_in(epoch)
            order = random.permutation(key, len(self.images), self.images.device)
            self._order = epoch, order
        size, first = self.size(index), index * self.task.config.batch_size
        rows = self._order[1][first : first + count * size]
        batches = self.images[rows].unflatten(0, (count, size))
        return self._drawn(keys, batches) if self.draws_inputs else batches

    def _drawn(self, keys: Keys, probs: Tensor) -> Tensor:
        """1 with probability `probs`, as images of the model. (S, N, D) -> (S, N, ...)"""
        ones = random.bernoulli(keys.fold_in("binarize"), probs).bool()
        shape = (*ones.shape[:2], *self.black.shape)
        if self.places is not None:
            inner, ones = ones, ones.new_zeros(*shape[:2], self.black.numel())
            ones.index_copy_(2, self.places, inner)
        return torch.where(ones.view(shape), self.white, self.black)


class SequenceSource(Source):
    """Windows of T steps of B sequences each: (S, T, B)."""

    def __init__(self, task: Any, panel: TorchPanel) -> None:
        super().__init__(task, panel)
        x, *_ = task.batch(panel, 0, 0)
        self.length = len(x)
        self.codes: Tensor | None = None
        """The input vector of each symbol, for a model that reads symbols as vectors."""
        if x.dtype.kind == "i":
            config = panel.model.config
            symbols = np.arange(getattr(config, "vocab_size", None) or config.output_dim)
            vectors = self._window(symbols, None, None).x
            self.codes = None if vectors.dtype.kind == "i" else panel.array(vectors)

    def size(self, index: int) -> int:
        return int(self.task.config.batch_size)

    def units(self, index: int) -> int:
        return self.size(index)

    def _noise(self, keys: Keys, size: int) -> Any:
        return self.panel.model.draw_noise(keys, size, length=self.length)

    def _batches(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Any:
        x = x if self.codes is None else self.codes[x]
        empty = self._window(np.zeros(0, np.float32), None, None)
        return empty._replace(x=x, y=y, weight=weight)

    def _window(self, x: np.ndarray, y: Any, weight: Any) -> Any:
        make = pairs.of_model(self.panel.model).window
        assert make is not None  # a model of sequences has one
        return make(self.panel.model.config, x, y, weight, None)


class TextSource(SequenceSource):
    """The text as columns on the device; a window is a view of T of its rows."""

    carries = True

    def __init__(self, task: Language, panel: TorchPanel) -> None:
        super().__init__(task, panel)
        self.columns = panel.array(np.ascontiguousarray(task.windows.columns))

    def units(self, index: int) -> int:
        return self.size(index) * self.length

    def _inputs(self, keys: Keys, epoch: int, index: int, count: int) -> Any:
        start, steps = index * self.length, count * self.length
        x, y = (self.columns[start + i : start + i + steps] for i in (0, 1))
        x, y = (part.unflatten(0, (count, self.length)) for part in (x, y))
        return self._batches(x, y, None)


class MemorySource(SequenceSource):
    """Sequences that the host generates for all S steps at once, as each depends on its number."""

    def _inputs(self, keys: Keys, epoch: int, index: int, count: int) -> Any:
        size = self.size(index)
        start = (epoch * self.task.steps_per_epoch + index) * size
        drawn = self.task.data.draw(self.task.key.fold_in("sequences"), count * size, start)
        return self._batches(*(self._by_step(array, count) for array in drawn))

    def _by_step(self, array: np.ndarray, count: int) -> Tensor:
        """(T, S B, ...) -> (S, T, B, ...)"""
        return self.panel.array(array).unflatten(1, (count, -1)).movedim(1, 0)


SOURCES: dict[type[Task], type[Source]] = {
    Images: ImageSource,
    Language: TextSource,
    Memory: MemorySource,
}
