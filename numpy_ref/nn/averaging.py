"""A running average of the weights.   Right panel: torch_impl/nn/averaging.py

Shapes: an average has the shape of its parameter.
Source: Polyak & Juditsky (1992); Chen et al. (2016).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from model_specs.common.fields import check_rate
from model_specs.common.state import check_state, shapes_of
from numpy_ref.nn.module import Array, Parameter


class PolyakAverage:
    """a <- decay a + (1 - decay) p after every step, for each parameter p, from a = p.

    The coefficients of past weights add up to 1 at every step, so that no correction as in Adam is
    needed. Buffers (running statistics) are not averaged.
    Source: Polyak & Juditsky (1992), with equal coefficients; Chen et al. (2016), decay 0.998.
    """

    def __init__(self, parameters: Iterable[tuple[str, Parameter]], decay: float) -> None:
        check_rate("decay", decay)
        self.parameters, self.decay = dict(parameters), decay
        self.averages = {name: p.data.copy() for name, p in self.parameters.items()}
        self._own: dict[str, Array] = {}
        self._depth = 0

    def update(self) -> None:
        """Update the averages after a step. Do not call it within `applied`."""
        for name, parameter in self.parameters.items():
            self.averages[name] += (1 - self.decay) * (parameter.data - self.averages[name])

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """A context in which the parameters have the values of the averages.

        Changes to a parameter within it are lost. A nested context has no effect.
        """
        if self._depth == 0:
            self._own = {name: p.data.copy() for name, p in self.parameters.items()}
            self._write(self.averages)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._write(self._own)
                self._own = {}

    def state_dict(self) -> dict[str, Array]:
        """Copies of the averages by the names of their parameters."""
        return {name: array.copy() for name, array in self.averages.items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy a state_dict. Raises ValueError that lists every entry that does not fit."""
        check_state(shapes_of(self.averages), shapes_of(state), "average")
        for name, array in self.averages.items():
            array[...] = state[name]

    def _write(self, arrays: Mapping[str, Array]) -> None:
        for name, parameter in self.parameters.items():
            parameter.data[...] = arrays[name]
