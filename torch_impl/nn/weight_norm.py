"""Weight-normalised layers, vectorised.   Left panel: numpy_ref/nn/weight_norm.py

Shapes: I inputs, O outputs; N images of H x W pixels before a convolution, OH x OW after it.
Source: Salimans & Kingma, "Weight normalization" (2016), arXiv 1602.07868.
torch.nn.utils has weight normalisation too, but without masks and data-dependent initialisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_specs.common.fields import check_positive_int
from torch_impl.nn.functional import weight_norm
from torch_impl.nn.module import as_dtype

Pair = tuple[int, int]

CONSTANT = 1e-5
"""An output with a smaller standard deviation, absolute or relative to its mean, is constant.

The inputs are of the order of 1, and so is v x / |v|; a smaller deviation is rounding.
"""


class WeightNorm(nn.Module):
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
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        factory_kwargs: dict[str, Any] = {"dtype": as_dtype(dtype), "device": device or "cpu"}
        lengths = [n if axis == self.outputs else 1 for axis, n in enumerate(shape)]
        zeros = torch.zeros(shape[self.outputs], **factory_kwargs)
        self.bias = nn.Parameter(zeros) if bias else None
        self.weight_g = nn.Parameter(torch.ones(lengths, **factory_kwargs))
        self.weight_v = nn.Parameter(torch.empty(shape, **factory_kwargs))

    def forward(self, x: Tensor) -> Tensor:
        if self.awaits_first_batch:
            self.awaits_first_batch = False
            self.init_from_batch(x)
        return self._multiply(x, self.weight(), self.bias)

    def weight(self) -> Tensor:
        """w = g v / |v|."""
        return weight_norm(self.weight_v, self.weight_g, self.outputs)

    def _multiply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """The layer as a pure function."""
        raise NotImplementedError(f"{type(self).__name__} has no _multiply")

    @torch.no_grad()
    def init_from_batch(self, x: Tensor) -> None:
        """Set g and b so that each output has mean 0 and variance 1 over the batch x.

            t = v x / |v|;   g = 1 / std(t),   b = -mean(t) / std(t)

        The statistics are over batch and pixels. A constant output keeps g = 1; a layer without a
        bias keeps its mean.
        Source: Salimans & Kingma 2016, section 3.
        """
        self.weight_g.fill_(1)
        if self.bias is not None:
            self.bias.zero_()
        t = self._multiply(x, self.weight(), self.bias)
        axes = 0, *range(2, t.ndim)
        mean, std = t.mean(axes), t.std(axes, correction=0)
        varies = std > CONSTANT * mean.abs().clamp(min=1)
        scale = torch.where(varies, 1 / std.clamp(min=CONSTANT), 1)
        self.weight_g.mul_(scale.reshape(self.weight_g.shape))
        if self.bias is not None:
            self.bias.sub_(mean * scale)


class WNLinear(WeightNorm):
    """F.linear, weight-normalised.   x (..., I) -> y (..., O)"""

    def __init__(self, in_features: int, out_features: int, **factory_kwargs: Any) -> None:
        check_positive_int("in_features", in_features)
        check_positive_int("out_features", out_features)
        super().__init__(out_features, in_features, **factory_kwargs)

    def _multiply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return F.linear(x, w, b)


class WNConv2d(WeightNorm):
    """F.conv2d, weight-normalised.   x (N, I, H, W) -> y (N, O, OH, OW)"""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        **factory_kwargs: Any,
    ) -> None:
        check_positive_int("in_channels", in_channels)
        check_positive_int("out_channels", out_channels)
        kernel = _pair(kernel_size)
        super().__init__(out_channels, in_channels, *kernel, **factory_kwargs)
        self.in_channels = in_channels
        self.stride, self.padding = stride, padding

    def _multiply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return F.conv2d(x, w, b, self.stride, self.padding)


class WNConvTranspose2d(WeightNorm):
    """F.conv_transpose2d, weight-normalised.   x (N, I, H, W) -> y (N, O, OH, OW)"""

    outputs = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        **factory_kwargs: Any,
    ) -> None:
        check_positive_int("in_channels", in_channels)
        check_positive_int("out_channels", out_channels)
        kernel = _pair(kernel_size)
        super().__init__(in_channels, out_channels, *kernel, **factory_kwargs)
        self.stride, self.padding = stride, padding
        self.output_padding = output_padding

    def _multiply(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        geometry = self.stride, self.padding, self.output_padding
        return F.conv_transpose2d(x, w, b, *geometry)


def data_dependent_init(model: nn.Module, run: Callable[[], Any]) -> None:
    """Initialise every weight-normalised layer of `model` by its batch during `run()`.

    `run` is a forward pass. A layer that it uses several times takes the first batch.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, WeightNorm)]
    for layer in layers:
        layer.awaits_first_batch = True
    try:
        run()
    finally:
        for layer in layers:
            layer.awaits_first_batch = False  # also in layers that an error kept from running


def _pair(size: int | Pair) -> Pair:
    return size if isinstance(size, tuple) else (size, size)
