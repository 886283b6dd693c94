"""The interface of a panel to the training loop, the evaluation and the figures."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from diptych import weights
from diptych.arrays import is_array, leaves, map_arrays, to_numpy
from model_specs.common.key import Key
from model_specs.common.state import check_state, shapes_of


class Panel(ABC):
    """A model and its optimiser. Batches go in as NumPy arrays or as NamedTuples of arrays.

    A loss may have a field `state`, which a recurrent model carries to its next batch, in the
    panel's own arrays; all other fields are terms.
    """

    backend: str
    model: Any
    average: Any = None
    """The running average of the weights; None until `keep_average` is called."""

    @abstractmethod
    def array(self, x: Any) -> Any:
        """Convert `x` to this panel's array; floats get the model's dtype, integers keep theirs."""

    def convert(self, batch: Any) -> Any:
        """Convert each array in `batch` to this panel's."""
        return map_arrays(self.array, batch)

    @abstractmethod
    def permutation(self, key: Key, n: int) -> np.ndarray:
        """Draw a random order of 0 ... n - 1, int64; both panels draw the same."""

    @abstractmethod
    def terms(self, batch: Any, noise: Any) -> dict[str, float]:
        """Compute the loss terms, without gradients."""

    @abstractmethod
    def floats(self, numbers: Iterable[Any]) -> list[float]:
        """Convert arrays of one number each to floats, from a device in one transfer."""

    @abstractmethod
    def forward_backward(
        self, batch: Any, noise: Any, share: float = 1.0
    ) -> tuple[dict[str, float], Any]:
        """Compute the loss terms, leave their gradients in the model, and return (terms, state).

        Older gradients are replaced; the state is None if the loss has no state. Terms and
        gradients are multiplied by `share`, the weight of this part in the whole batch, and summed
        over the ranks if there are several (see diptych.panels.ranks).
        """

    @abstractmethod
    def step(self, lr: float, clip: float | None) -> None:
        """Clip the gradients to the norm `clip`, unless it is None, and take an optimiser step."""

    @abstractmethod
    def optimizer_state(self) -> dict[str, np.ndarray]:
        """Return "step" and the optimiser's buffers by "parameter.buffer", alike on both panels."""

    @abstractmethod
    def load_optimizer_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Load the result of `optimizer_state`. Raises: ValueError if it does not fit."""

    def initialize(self, batch: Any, noise: Any) -> None:
        """Initialise the weights from a batch, if the model has a method `initialize(x, noise)`.

        Other models stay unchanged. The average of the weights starts again as a copy of them.

        Source: Salimans & Kingma (2016), section 3.
        """
        if hasattr(self.model, "initialize"):
            self.model.initialize(self.convert(batch), noise)
            if self.average is not None:
                self.keep_average(self.average.decay)

    @abstractmethod
    def keep_average(self, decay: float) -> None:
        """Keep a running average of the weights from now on; it starts as a copy of them.

        `step` updates it, and evaluations use it instead of the weights (see PolyakAverage).
        """

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Context in which the model has the averages, if they are kept, as its weights."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    def average_state(self) -> dict[str, np.ndarray]:
        """Return the averages by the names of their parameters; empty if none are kept."""
        state = {} if self.average is None else self.average.state_dict()
        return weights.to_arrays(state)

    def load_average(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Load the result of `average_state`. Raises: ValueError if it does not fit."""
        if self.average is not None:
            self.average.load_state_dict(arrays)
        else:
            check_state({}, shapes_of(arrays), "average")

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Context with evaluation mode: no dropout, batches normalised by running statistics, and
        the averages as weights if they are kept."""
        with self._mode(False), self.averaged():
            yield

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Context with training mode: dropout, and batches normalised by their own statistics."""
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
        """Return the arrays of a carried state by name; empty for None."""
        return {name.lstrip("."): to_numpy(array) for name, array in leaves(state)}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """Rebuild the state from the result of `state_arrays`; an empty result gives None."""
        if not arrays:
            return None
        size = next(iter(arrays.values())).shape[1]
        empty = self.model.zero_state(size)
        own = {name.lstrip("."): tuple(array.shape) for name, array in leaves(empty)}
        check_state(own, shapes_of(arrays), "carried state")
        return type(empty)(*(self.array(arrays[name]) for name in empty._fields))

    def weights(self) -> dict[str, np.ndarray]:
        """Return copies of the weights and buffers by name."""
        return {
            name: array.copy() for name, array in weights.to_arrays(self.model.state_dict()).items()
        }

    def load_weights(self, arrays: Mapping[str, np.ndarray], source: str = "weights") -> None:
        """Load the result of `weights`. Raises: ValueError that begins with `source`."""
        weights.load_state(self.model, arrays, source)


def terms_of(loss: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named terms of a loss, without the state that a recurrent model carries."""
    return ((name, value) for name, value in loss._asdict().items() if is_array(value))


def state_of(loss: Any) -> Any:
    """Return the state that a recurrent loss carries to the next batch; None for other losses."""
    return loss.state if "state" in loss._fields else None
