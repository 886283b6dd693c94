"""What the training loop, the evaluation and the figures ask of a panel, whichever it is."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from diptych import weights
from diptych.arrays import is_array, leaves, map_arrays, to_numpy
from model_specs.common.state import check_state


class Panel(ABC):
    """A model and its optimiser. Batches go in as NumPy arrays or as NamedTuples of arrays.

    A loss may have a field `state`: it is what a recurrent model carries to its next batch, in the
    panel's own arrays; all other fields are terms.
    """

    backend: str
    model: Any
    average: Any = None
    """of the weights, once `keep_average` was called"""

    @abstractmethod
    def array(self, x: Any) -> Any:
        """`x` as this panel's array; numbers get the model's dtype, integers stay as they are."""

    def convert(self, batch: Any) -> Any:
        """`batch` with each array in it as this panel's."""
        return map_arrays(self.array, batch)

    @abstractmethod
    def terms(self, batch: Any, noise: Any) -> dict[str, float]:
        """The loss terms, without gradients."""

    @abstractmethod
    def forward_backward(
        self, batch: Any, noise: Any, share: float = 1.0
    ) -> tuple[dict[str, float], Any]:
        """The loss terms, and the state or None; the gradients are left in the model, in place of
        older ones. Both times `share`, what a part of a batch counts in the whole, and added over
        the ranks where there are several (see diptych.panels.ranks).
        """

    @abstractmethod
    def step(self, lr: float, clip: float | None) -> None:
        """One optimiser step along those gradients."""

    @abstractmethod
    def optimizer_state(self) -> dict[str, np.ndarray]:
        """The optimiser's buffers by "parameter.buffer", and "step"; alike on both panels."""

    @abstractmethod
    def load_optimizer_state(self, state: Mapping[str, np.ndarray]) -> None: ...

    def initialize(self, batch: Any, noise: Any) -> None:
        """Let a model with a method `initialize(x, noise)` set its weights, in place, by what it
        makes of a batch; any other stays as it is. An average begins again as a copy of them.

        Source: Salimans & Kingma (2016), section 3.
        """
        if hasattr(self.model, "initialize"):
            self.model.initialize(self.convert(batch), noise)
            if self.average is not None:
                self.keep_average(self.average.decay)

    @abstractmethod
    def keep_average(self, decay: float) -> None:
        """From here on, `step` moves an average of the weights, which begins as a copy of them,
        and evaluations see it in their place (see PolyakAverage)."""

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """The averages stand in the model, where there are some; and afterwards its own weights."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    def average_state(self) -> dict[str, np.ndarray]:
        """The averages by the names of their parameters; none where none are kept."""
        state = {} if self.average is None else self.average.state_dict()
        return weights.to_arrays(state)

    def load_average(self, arrays: Mapping[str, np.ndarray]) -> None:
        """What `average_state` told of. Raises: ValueError for what does not fit."""
        if self.average is not None:
            self.average.load_state_dict(arrays)
        else:
            check_state({}, {name: array.shape for name, array in arrays.items()}, "average")

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Dropout off, batches normalised by running statistics, the weights averaged where that
        is kept; and afterwards as it was."""
        with self._mode(False), self.averaged():
            yield

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Dropout on, batches normalised by their own statistics; and afterwards as it was."""
        with self._mode(True):
            yield

    @contextlib.contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        before = self.model.training
        self.model.train(training)
        try:
            yield
        finally:
            self.model.train(before)

    def state_arrays(self, state: Any) -> dict[str, np.ndarray]:
        """A carried state as arrays by name; none where there is no state."""
        return {name.lstrip("."): to_numpy(array) for name, array in leaves(state)}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """The state that `state_arrays` told of, or None."""
        if not arrays:
            return None
        size = next(iter(arrays.values())).shape[1]
        empty = self.model.zero_state(size)
        own = {name.lstrip("."): tuple(array.shape) for name, array in leaves(empty)}
        check_state(own, {name: array.shape for name, array in arrays.items()}, "carried state")
        return type(empty)(*(self.array(arrays[name]) for name in empty._fields))

    def weights(self) -> dict[str, np.ndarray]:
        return {
            name: array.copy() for name, array in weights.to_arrays(self.model.state_dict()).items()
        }

    def load_weights(self, arrays: Mapping[str, np.ndarray], source: str = "weights") -> None:
        weights.load_state(self.model, arrays, source)


def terms_of(loss: Any) -> Iterator[tuple[str, Any]]:
    """The named terms of a loss, without the state that a recurrent one carries."""
    return ((name, value) for name, value in loss._asdict().items() if is_array(value))
