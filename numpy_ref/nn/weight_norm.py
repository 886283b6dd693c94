"""Layers with weight normalisation, by hand.   Right panel: torch_impl/nn/weight_norm.py

Source: Salimans & Kingma, "Weight normalization" (2016), arXiv 1602.07868.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from numpy_ref.nn.convolution import conv2d, conv_transpose2d
from numpy_ref.nn.functional import linear, weight_norm
from numpy_ref.nn.module import Array, Module, Parameter, Vjp, as_dtype

Size = int | tuple[int, int]

CONSTANT = 1e-5
"""An output whose deviation is less than so much, or than so much of its mean, does not vary.

What goes in is of the order of 1, and so is v x / |v|: less than that is what rounding leaves.
"""


class WeightNorm(Module):
    """A layer whose weight is w = g v / |v|: length and direction are learned apart.

    |v| is over all axes but `outputs`, and of a masked layer over what its mask lets through.
    Shapes: weight_v as the layer's weight, weight_g alike but 1 on all other axes.
    Names are those of torch.nn.utils.weight_norm. weight_v is not yet set: a model's init draws it.
    Source: Salimans & Kingma 2016, equations 2 and 3.
    """

    outputs = 0
    """Axis of the weight that counts the outputs."""
    bias: Any

    def __init__(
        self,
        *weight: int,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
        input_grad: bool = True,
    ) -> None:
        kind = as_dtype(dtype)
        lengths = [n if axis == self.outputs else 1 for axis, n in enumerate(weight)]
        self.bias = Parameter(np.zeros(weight[self.outputs], kind)) if bias else None
        self.weight_g = Parameter(np.ones(lengths, kind))
        self.weight_v = Parameter(np.empty(weight, kind))
        self._input_grad = input_grad
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
        w, w_vjp = self.weight()
        y, y_vjp = self.multiply(x, w, None if self.bias is None else self.bias.data)

        def vjp(dy: Array) -> Array | None:
            dx, dw, db = y_vjp(dy)
            dv, dg = w_vjp(dw)
            self.weight_v.grad += dv
            self.weight_g.grad += dg
            if self.bias is not None:
                self.bias.grad += db
            return dx

        return y, vjp

    def weight(self) -> tuple[Array, Vjp]:
        """w = g v / |v|; the vjp gives (dv, dg)."""
        return weight_norm(self.weight_v.data, self.weight_g.data, self.outputs)

    def multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        """The layer as a pure function of its input, weight and bias; the vjp gives all three."""
        raise NotImplementedError(f"{type(self).__name__} does not multiply")

    def _initialize(self, x: Array) -> None:
        g, b = self.weight_g.data, None if self.bias is None else self.bias.data
        g.fill(1)
        if b is not None:
            b.fill(0)
        t, _ = self.multiply(x, self.weight()[0], b)
        axes = 0, *range(2, t.ndim)
        mean, std = t.mean(axes), t.std(axes)
        varies = std > CONSTANT * np.maximum(np.abs(mean), 1)
        scale = np.where(varies, 1 / np.maximum(std, CONSTANT), 1)
        g *= scale.reshape(g.shape)
        if b is not None:
            b -= mean * scale


class WNLinear(WeightNorm):
    """y = x wᵀ + b, weight-normalised.   x (..., I) -> y (..., O)"""

    def __init__(self, in_features: int, out_features: int, **options: Any) -> None:
        super().__init__(out_features, in_features, **options)

    def multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        return linear(x, w, b, input_grad=self._input_grad)


class WNConv2d(WeightNorm):
    """`conv2d`, weight-normalised.   x (N, I, H, W) -> y (N, O, OH, OW)"""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        **options: Any,
    ) -> None:
        super().__init__(out_channels, in_channels, *as_pair(kernel_size), **options)
        self.in_channels, self.stride, self.padding = in_channels, as_pair(stride), as_pair(padding)

    def multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        return conv2d(x, w, b, self.stride, self.padding, input_grad=self._input_grad)


class WNConvTranspose2d(WeightNorm):
    """`conv_transpose2d`, weight-normalised.   x (N, I, H, W) -> y (N, O, OH, OW)"""

    outputs = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, *as_pair(kernel_size), **options)
        self.stride, self.padding = as_pair(stride), as_pair(padding)
        self.output_padding = as_pair(output_padding)

    def multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        geometry = self.stride, self.padding, self.output_padding
        return conv_transpose2d(x, w, b, *geometry, input_grad=self._input_grad)


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


def as_pair(size: Size) -> tuple[int, int]:
    """An int for both axes, or one for each."""
    return size if isinstance(size, tuple) else (size, size)
