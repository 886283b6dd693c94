"""Forward and backward passes that can be called to be timed, one class for each panel.

A call clears the gradients of the parameters, runs the forward and differentiates it. `values` are
what it computes: the gradient of the first input, and those of the parameters by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diptych.arrays import to_numpy
from diptych.bench import clock
from numpy_ref.nn.module import Module

INPUT = "first input"


class NumpyBackward:
    """A pass of the left panel: `forward() -> (y, vjp)`, then vjp(*dy).

    A call returns what vjp returns; parameter gradients are in the parameters' `.grad`.
    """

    def __init__(self, module: Module, forward: Callable[[], Any], *dy: Any) -> None:
        self.module, self.forward, self.dy = module, forward, dy

    def __call__(self) -> Any:
        self.module.zero_grad()
        _, vjp = self.forward()
        return vjp(*self.dy)

    def values(self) -> dict[str, np.ndarray]:
        """The gradients of one call."""
        result = self()
        first = result[0] if isinstance(result, tuple) else result
        values = {} if first is None else {INPUT: np.array(first)}
        return values | {name: g.copy() for name, g in self.module.gradients().items()}


class TorchBackward:
    """A pass of the right panel: `forward() -> y`, then the gradients of y.

    `dy` has a gradient for each output, or none if y is a scalar. Outputs that do not depend on a
    parameter or an input are skipped, because autograd takes no gradient for them. A call returns
    the gradient of the first of `inputs`, which are made to require gradients.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[], Any],
        *dy: Tensor,
        inputs: Sequence[Tensor] = (),
    ) -> None:
        self.module, self.forward, self.dy, self.inputs = module, forward, dy, inputs
        for tensor in inputs:
            tensor.requires_grad_()

    def __call__(self) -> Any:
        self.module.zero_grad(set_to_none=True)
        for tensor in self.inputs:
            tensor.grad = None
        y = self.forward()
        ys = y if isinstance(y, tuple) else (y,)
        indices = [i for i, y in enumerate(ys) if y.requires_grad]
        dy = [self.dy[i] for i in indices] if self.dy else None
        torch.autograd.backward([ys[i] for i in indices], dy)
        clock.wait(ys[0].device)
        return self.inputs[0].grad if self.inputs else None

    def values(self) -> dict[str, np.ndarray]:
        """The gradients of one call."""
        first = self()
        values = {} if first is None else {INPUT: to_numpy(first)}
        return values | gradients_of(self.module)


def gradients_of(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of the gradients of a torch module by parameter name."""
    named = model.named_parameters()
    return {name: to_numpy(p.grad) for name, p in named if p.grad is not None}
