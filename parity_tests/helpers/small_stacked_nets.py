"""Layers and small nets of StackedConv2d on both panels, for the tests of the two stacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers.random_weights import randomized
from torch import Tensor, nn

from diptych import weights
from numpy_ref.autoregressive.stacked_pixel_cnn import StackedConv2d
from numpy_ref.nn.functional import Tanh
from numpy_ref.nn.module import Array, Module, Sequential, Vjp
from torch_impl.autoregressive.stacked_pixel_cnn import StackedConv2d as TorchStackedConv2d


class StackedNet(Module):
    """x -> (v, h) through layers of two stacks, with tanh between them."""

    def __init__(self, *layers: Module) -> None:
        self.layers = Sequential(*layers)
        self.tanh = Tanh()

    def forward(self, x: Array) -> tuple[tuple[Array, Array], Vjp]:
        v = h = x
        vjps = []
        for depth, layer in enumerate(self.layers):
            if depth:
                (v, v_vjp), (h, h_vjp) = self.tanh(v), self.tanh(h)
                vjps.append(lambda dv, dh, a=v_vjp, b=h_vjp: (a(dv), b(dh)))
            (v, h), vjp = layer(v, h)
            vjps.append(vjp)

        def backward(dv: Array, dh: Array) -> Array:
            for vjp in reversed(vjps):
                dv, dh = vjp(dv, dh)
            return dv + dh

        return (v, h), backward


class TorchStackedNet(nn.Module):
    """StackedNet of the right panel."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.tanh = nn.Tanh()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        v = h = x
        for depth, layer in enumerate(self.layers):
            if depth:
                v, h = self.tanh(v), self.tanh(h)
            v, h = layer(v, h)
        return v, h


def make_pair(rng: np.random.Generator, *arguments: Any, **options: Any) -> tuple[Any, Any]:
    """(left, right) layers with the same random weights."""
    left = randomized(StackedConv2d(*arguments, **options), rng)
    right = TorchStackedConv2d(*arguments, **options)
    weights.transfer(left, right)
    return left, right


def make_nets(
    rng: np.random.Generator, kernels: list[Any], channels: int = 1, free: int = 0, **options: Any
) -> dict[str, Any]:
    """Nets of one layer of type A and others of type B, of 3 maps, by panel.

    The weights are so small that tanh does not saturate.
    """
    settings = [
        (3, 3, kernel, "B") if depth else (channels, 3, kernel, "A", free)
        for depth, kernel in enumerate(kernels)
    ]
    left = randomized(
        StackedNet(*(StackedConv2d(*arguments, **options) for arguments in settings)), rng
    )
    for parameter in left.parameters():
        parameter.data *= 0.3
    right = TorchStackedNet(*(TorchStackedConv2d(*arguments, **options) for arguments in settings))
    weights.transfer(left, right)
    return {"numpy": left, "torch": right}
