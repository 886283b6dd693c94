"""Forward and backward passes as callables that can be timed, one function for each panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diptych.bench import clock
from numpy_ref.nn.module import Module


def numpy_backward(module: Module, forward: Callable[[], Any], *dy: Any) -> Callable[[], Any]:
    """Return a callable that zeroes the gradients, runs `forward() -> (y, vjp)` and then vjp(*dy).

    The callable returns what vjp returns; parameter gradients are in the parameters' `.grad`.
    """

    def run() -> Any:
        module.zero_grad()
        _, vjp = forward()
        return vjp(*dy)

    return run


def torch_backward(
    module: nn.Module,
    forward: Callable[[], Any],
    *dy: Tensor,
    inputs: Sequence[Tensor] = (),
) -> Callable[[], Any]:
    """Return a callable that clears the gradients, runs `forward() -> y` and differentiates y.

    `dy` has a gradient for each output, or none if y is a scalar. Outputs that do not depend on a
    parameter or an input are skipped, because autograd takes no gradient for them. The callable
    returns the gradient of the first of `inputs`, which are made to require gradients.
    """
    for tensor in inputs:
        tensor.requires_grad_()

    def run() -> Any:
        module.zero_grad(set_to_none=True)
        for tensor in inputs:
            tensor.grad = None
        y = forward()
        ys = y if isinstance(y, tuple) else (y,)
        indices = [i for i, y in enumerate(ys) if y.requires_grad]
        torch.autograd.backward([ys[i] for i in indices], [dy[i] for i in indices] if dy else None)
        clock.wait(ys[0].device)
        return inputs[0].grad if inputs else None

    return run
