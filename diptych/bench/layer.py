"""One layer, or a method of one, forward and backward with all its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from numpy_ref.nn.module import Module


def left(layer: Module, x: Any, *dy: Any, method: str = "forward") -> Callable[[], Any]:
    """Gives the gradient of x; those of the parameters are in their `.grad`."""

    def run() -> Any:
        layer.zero_grad()
        _, vjp = getattr(layer, method)(x)
        return vjp(*dy)

    return run


def right(
    layer: nn.Module, x: torch.Tensor, *dy: torch.Tensor, method: str = "forward"
) -> Callable[[], Any]:
    """The same. An output that no gradient goes through is left out: autograd takes none for it."""
    x.requires_grad_()

    def run() -> Any:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        y = getattr(layer, method)(x)
        ys = y if isinstance(y, tuple) else (y,)
        moved = [i for i, y in enumerate(ys) if y.requires_grad]
        torch.autograd.backward([ys[i] for i in moved], [dy[i] for i in moved])
        if x.is_cuda:
            torch.cuda.synchronize()
        return x.grad

    return run
