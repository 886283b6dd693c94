"""Layers with weight normalisation, vectorised.   Left panel: numpy_ref/nn/weight_norm.py

Source: Salimans & Kingma, "Weight normalization" (2016), arXiv 1602.07868.
torch.nn.utils has weight normalisation too, but not with a mask, nor by the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_impl.nn.module import as_dtype

Size = int | tuple[int, int]

CONSTANT = 1e-5
"""An output whose deviation is less than so much, or than so much of its mean, does not vary.

What goes in is of the order of 1, and so is v x / |v|: less than that is what rounding leaves.
"""


def weight_norm(v: Tensor, g: Tensor, axis: int = 0) -> Tensor:
    """w = g v / |v|, |v| over all axes but `axis`, which counts the outputs."""
    others = [k for k in range(v.ndim) if k != axis]
    return g * (v / (v * v).sum(others, keepdim=True).sqrt())


class WeightNorm(nn.Module):
    """w = g v / |v|: the length and the direction of what each output multiplies by, learned apart.

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
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        factory_kwargs: dict[str, Any] = {"dtype": as_dtype(dtype), "device": device or "cpu"}
        lengths = [n if axis == self.outputs else 1 for axis, n in enumerate(weight)]
        zeros = torch.zeros(weight[self.outputs], **factory_kwargs)
        self.bias = nn.Parameter(zeros) if bias else None
        self.weight_g = nn.Parameter(torch.ones(lengths, **factory_kwargs))
        self.weight_v = nn.Parameter(torch.empty(weight, **factory_kwargs))
        self._initialize_next = False

    def initialize_next(self) -> None:
        """Set g and b by the next batch that comes, so that its outputs have mean 0 and variance 1.

            t = v x / |v|;   g = 1 / std(t),   b = -mean(t) / std(t)

        over batch and pixels, each output by itself; one that does not vary keeps g = 1. Without a
        bias the mean stays.
        Source: Salimans & Kingma 2016, section 3.
        """
        self._initialize_next = True

    def forward(self, x: Tensor) -> Tensor:
        if self._initialize_next:
            self._initialize_next = False
            self._initialize(x)
        return self.multiply(x, self.weight())

    @torch.no_grad()
    def _initialize(self, x: Tensor) -> None:
        self.weight_g.fill_(1)
        if self.bias is not None:
            self.bias.zero_()
        t = self.multiply(x, self.weight())
        axes = 0, *range(2, t.ndim)
        mean, std = t.mean(axes), t.std(axes, correction=0)
        varies = std > CONSTANT * mean.abs().clamp(min=1)
        scale = torch.where(varies, 1 / std.clamp(min=CONSTANT), 1)
        self.weight_g.mul_(scale.reshape(self.weight_g.shape))
        if self.bias is not None:
            self.bias.sub_(mean * scale)

    def weight(self) -> Tensor:
        """w = g v / |v|."""
        return weight_norm(self.weight_v, self.weight_g, self.outputs)

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer as a function of its input and weight."""
        raise NotImplementedError(f"{type(self).__name__} does not multiply")


class WNLinear(WeightNorm):
    """torch.nn.Linear, weight-normalised."""

    def __init__(self, in_features: int, out_features: int, **factory_kwargs: Any) -> None:
        super().__init__(out_features, in_features, **factory_kwargs)

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight, self.bias)


class WNConv2d(WeightNorm):
    """torch.nn.Conv2d, weight-normalised."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        **factory_kwargs: Any,
    ) -> None:
        super().__init__(out_channels, in_channels, *_pair(kernel_size), **factory_kwargs)
        self.stride, self.padding = stride, padding

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class WNConvTranspose2d(WeightNorm):
    """torch.nn.ConvTranspose2d, weight-normalised."""

    outputs = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        **factory_kwargs: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, *_pair(kernel_size), **factory_kwargs)
        self.stride, self.padding, self.output_padding = stride, padding, output_padding

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        given = (self.stride, self.padding, self.output_padding)
        return F.conv_transpose2d(x, weight, self.bias, *given)


def data_dependent_init(model: nn.Module, run: Callable[[], Any]) -> None:
    """Data-dependent initialisation: `run` the model once, each layer settling as data comes by.

    A layer that is used several times is set by the first use.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, WeightNorm)]
    for layer in layers:
        layer.initialize_next()
    try:
        run()
    finally:
        for layer in layers:
            layer._initialize_next = False  # where `run` stopped early, or passed it by


def _pair(size: Size) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)
