"""A running average of the weights.   Left panel: numpy_ref/nn/averaging.py

torch.optim.swa_utils.AveragedModel copies the whole model, and at its first update, after a step.
Its rule for the averages is used here.

Shapes: an average has the shape of its parameter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from model_specs.common.fields import check_rate
from model_specs.common.state import check_state, shapes_of


class PolyakAverage:
    """a <- decay a + (1 - decay) p after every step, for each parameter p, from a = p.

    The coefficients of past weights add up to 1 at every step, so that no correction as in Adam is
    needed. Buffers (running statistics) are not averaged.
    Source: Polyak & Juditsky (1992), with equal coefficients; Chen et al. (2016), decay 0.998.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], decay: float) -> None:
        check_rate("decay", decay)
        self.parameters, self.decay = dict(parameters), decay
        self.averages = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._own: dict[str, Tensor] = {}
        self._move: Any = get_ema_multi_avg_fn(decay)
        self._depth = 0

    def update(self) -> None:
        """Update the averages after a step. Do not call it within `applied`."""
        self._move([*self.averages.values()], [*self.parameters.values()], None)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """A context in which the parameters have the values of the averages.

        Changes to a parameter within it are lost. A nested context has no effect.
        """
        if self._depth == 0:
            self._own = {name: p.detach().clone() for name, p in self.parameters.items()}
            self._write(self.averages)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._write(self._own)
                self._own = {}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the averages by the names of their parameters."""
        return {name: tensor.clone() for name, tensor in self.averages.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy a state_dict. Raises ValueError that lists every entry that does not fit."""
        check_state(shapes_of(self.averages), shapes_of(state), "average")
        for name, tensor in self.averages.items():
            tensor.copy_(torch.as_tensor(state[name]))

    @torch.no_grad()
    def _write(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[name])
