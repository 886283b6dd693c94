"""Layers with weight normalisation, by hand.   Right panel: torch_impl/nn/weight_norm.py

Source: Salimans & Kingma, "Weight normalization" (2016), arXiv 1602.07868.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_ref.nn.convolution import Conv2d, ConvTranspose2d
from numpy_ref.nn.layers import Linear, Weighted
from numpy_ref.nn.module import Array, Module, Parameter, Vjp

CONSTANT = 1e-5
"""An output whose deviation is less than so much, or than so much of its mean, does not vary.

What goes in is of the order of 1, and so is v x / |v|: less than that is what rounding leaves.
"""


class WeightNorm(Weighted):
    """w = g v / |v|: the length and the direction of what each output multiplies by, learned apart.

    A mixin over a layer. |v| is over all axes but `outputs`, and of a masked layer over what its
    mask lets through.
    Shapes: weight_v as the layer's weight, weight_g alike but 1 on all other axes.
    Names are those of torch.nn.utils.weight_norm. weight_v is not yet set: a model's init draws it.
    Source: Salimans & Kingma 2016, equations 2 and 3.
    """

    outputs = 0
    """Axis of the weight that counts the outputs."""
    bias: Any

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        v = self.weight
        del self.weight
        self._others = tuple(axis for axis in range(v.data.ndim) if axis != self.outputs)
        self.weight_g = Parameter(np.ones_like(v.data.max(self._others, keepdims=True)))
        self.weight_v = v
        if self.bias is not None:
            self.bias.data.fill(0)
        self._initialize_next = False

    def initialize_next(self) -> None:
        """Set g and b by the next batch that comes, so that its outputs have mean 0 and variance 1.

            t = v x / |v|;   g = 1 / std(t),   b = -mean(t) / std(t)

        over batch and pixels, each output by itself; one that does not vary keeps g = 1. Without a
        bias the mean stays.
        Source: Salimans & Kingma 2016, section 3.
        """
        self._initialize_next = True

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        if self._initialize_next:
            self._initialize_next = False
            self._initialize(x)
        return super().forward(x)

    def _initialize(self, x: Array) -> None:
        g, b = self.weight_g.data, None if self.bias is None else self.bias.data
        g.fill(1)
        if b is not None:
            b.fill(0)
        t, _ = super().forward(x)
        axes = 0, *range(2, t.ndim)
        mean, std = t.mean(axes), t.std(axes)
        varies = std > CONSTANT * np.maximum(np.abs(mean), 1)
        scale = np.where(varies, 1 / np.maximum(std, CONSTANT), 1)
        g *= scale.reshape(g.shape)
        if b is not None:
            b -= mean * scale

    def _multiplier(self) -> tuple[Array, Vjp]:
        g, v = self.weight_g.data, self._seen(self.weight_v.data)
        norm = np.sqrt((v * v).sum(self._others, keepdims=True))
        direction = v / norm

        def vjp(dw: Array) -> None:
            dg = (dw * direction).sum(self._others, keepdims=True)
            dv = (dw - dg * direction) * (g / norm)
            self.weight_g.grad += dg
            self.weight_v.grad += self._seen(dv)

        return g * direction, vjp

    def _seen(self, v: Array) -> Array:
        """What a mask lets through, 0 elsewhere."""
        return v


class WNLinear(WeightNorm, Linear):
    """numpy_ref.nn.layers.Linear, weight-normalised."""


class WNConv2d(WeightNorm, Conv2d):
    """numpy_ref.nn.convolution.Conv2d, weight-normalised."""


class WNConvTranspose2d(WeightNorm, ConvTranspose2d):
    """numpy_ref.nn.convolution.ConvTranspose2d, weight-normalised."""

    outputs = 1


def data_dependent_init(model: Module, run: Callable[[], Any]) -> None:
    """Data-dependent initialisation: `run` the model once, each layer settling as data comes by.

    A layer that is used several times is set by the first use.
    """
    layers = [layer for _, layer in model.named_modules() if isinstance(layer, WeightNorm)]
    for layer in layers:
        layer.initialize_next()
    try:
        run()
    finally:
        for layer in layers:
            layer._initialize_next = False  # where `run` stopped early, or passed it by
