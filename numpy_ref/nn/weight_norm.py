"""Weight-normalised layers, by hand.   Right panel: torch_impl/nn/weight_norm.py

Shapes: I inputs, O outputs; N images of H x W pixels before a convolution, OH x OW after it.
Source: Salimans & Kingma, "Weight normalization" (2016), arXiv 1602.07868.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int
from numpy_ref.nn.convolution import as_output_padding, as_pair, conv2d, conv_transpose2d
from numpy_ref.nn.correlation import Pair
from numpy_ref.nn.functional import linear, weight_norm
from numpy_ref.nn.module import Array, Module, Parameter, Vjp, as_dtype

CONSTANT = 1e-5
"""An output with a smaller standard deviation, absolute or relative to its mean, is constant.

The inputs are of the order of 1, and so is v x / |v|; a smaller deviation is rounding.
"""


class WeightNorm(Module):
    """A layer whose weight is w = g v / |v|: its length g and its direction v / |v| are learned.

    The norm |v| is taken over all axes but `outputs`; that of a masked layer omits masked weights.
    Names are those of torch.nn.utils.weight_norm. weight_v is uninitialised; `init_weight_v` draws
    it.
    Shapes: weight_v as the layer's weight; weight_g the same with size 1 on all axes but `outputs`.
    Source: Salimans & Kingma 2016, equations 2 and 3.
    """

    outputs = 0
    """Axis of the weight that counts the outputs."""
    awaits_first_batch = False
    """True: the next forward pass calls `init_from_batch` first. `data_dependent_init` sets it."""
    bias: Any

    def __init__(
        self,
        *shape: int,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
        input_grad: bool = True,
    ) -> None:
        dtype = as_dtype(dtype)
        lengths = [n if axis == self.outputs else 1 for axis, n in enumerate(shape)]
        self.bias = Parameter(np.zeros(shape[self.outputs], dtype)) if bias else None
        self.weight_g = Parameter(np.ones(lengths, dtype))
        self.weight_v = Parameter(np.empty(shape, dtype))
        self._input_grad = input_grad

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        if self.awaits_first_batch:
            self.awaits_first_batch = False
            self.init_from_batch(x)
        w, w_vjp = self.weight()
        y, y_vjp = self._multiply(x, w, None if self.bias is None else self.bias.data)

        def vjp(dy: Array) -> Array | None:
            dx, dw, db = y_vjp(dy)
            w_vjp(dw)
            if self.bias is not None:
                self.bias.grad += db
            return dx

        return y, vjp

    def weight(self) -> tuple[Array, Vjp]:
        """w = g v / |v|."""
        w, weight_norm_vjp = weight_norm(self.weight_v.data, self.weight_g.data, self.outputs)

        def vjp(dw: Array) -> None:
            dv, dg = weight_norm_vjp(dw)
            self.weight_v.grad += dv
            self.weight_g.grad += dg

        return w, vjp

    def _multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        """The layer as a pure function; its vjp returns (dx, dw, db)."""
        raise NotImplementedError(f"{type(self).__name__} has no _multiply")

    def init_from_batch(self, x: Array) -> None:
        """Set g and b so that each output has mean 0 and variance 1 over the batch x.

            t = v x / |v|;   g = 1 / std(t),   b = -mean(t) / std(t)

        The statistics are over batch and pixels. A constant output keeps g = 1; a layer without a
        bias keeps its mean.
        Source: Salimans & Kingma 2016, section 3.
        """
        self.weight_g.data.fill(1)
        if self.bias is not None:
            self.bias.data.fill(0)
        b = None if self.bias is None else self.bias.data
        t, _ = self._multiply(x, self.weight()[0], b)
        axes = 0, *range(2, t.ndim)
        mean, std = t.mean(axes), t.std(axes)
        varies = std > CONSTANT * np.maximum(np.abs(mean), 1)
        scale = np.where(varies, 1 / np.maximum(std, CONSTANT), 1)
        self.weight_g.data *= scale.reshape(self.weight_g.data.shape)
        if self.bias is not None:
            self.bias.data -= mean * scale


class WNLinear(WeightNorm):
    """`linear`, weight-normalised.   x (..., I) -> y (..., O)"""

    def __init__(self, in_features: int, out_features: int, **options: Any) -> None:
        check_positive_int("in_features", in_features)
        check_positive_int("out_features", out_features)
        super().__init__(out_features, in_features, **options)

    def _multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        return linear(x, w, b, input_grad=self._input_grad)


class WNConv2d(WeightNorm):
    """`conv2d`, weight-normalised.   x (N, I, H, W) -> y (N, O, OH, OW)"""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        **options: Any,
    ) -> None:
        check_positive_int("in_channels", in_channels)
        check_positive_int("out_channels", out_channels)
        kernel = as_pair("kernel_size", kernel_size, 1)
        super().__init__(out_channels, in_channels, *kernel, **options)
        self.in_channels = in_channels
        self.stride, self.padding = as_pair("stride", stride, 1), as_pair("padding", padding, 0)

    def _multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        return conv2d(x, w, b, self.stride, self.padding, input_grad=self._input_grad)


class WNConvTranspose2d(WeightNorm):
    """`conv_transpose2d`, weight-normalised.   x (N, I, H, W) -> y (N, O, OH, OW)"""

    outputs = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        **options: Any,
    ) -> None:
        check_positive_int("in_channels", in_channels)
        check_positive_int("out_channels", out_channels)
        kernel = as_pair("kernel_size", kernel_size, 1)
        super().__init__(in_channels, out_channels, *kernel, **options)
        self.stride, self.padding = as_pair("stride", stride, 1), as_pair("padding", padding, 0)
        self.output_padding = as_output_padding(output_padding, self.stride)

    def _multiply(self, x: Array, w: Array, b: Any) -> tuple[Array, Vjp]:
        geometry = self.stride, self.padding, self.output_padding
        return conv_transpose2d(x, w, b, *geometry, input_grad=self._input_grad)


def data_dependent_init(model: Module, run: Callable[[], Any]) -> None:
    """Initialise every weight-normalised layer of `model` by its batch during `run()`.

    `run` is a forward pass. A layer that it uses several times takes the first batch.
    """
    layers = [layer for _, layer in model.named_modules() if isinstance(layer, WeightNorm)]
    for layer in layers:
        layer.awaits_first_batch = True
    try:
        run()
    finally:
        for layer in layers:
            layer.awaits_first_batch = False  # also in layers that an error kept from running
