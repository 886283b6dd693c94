"""Convolutions of torch.nn, without draws from torch's global random state.

Left panel: numpy_ref/nn/convolution.py. Its pure functions conv2d and conv_transpose2d are those of
torch.nn.functional, which also check the arguments.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import skip_init

from torch_impl.nn.module import as_dtype


def Conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    *,
    bias: bool = True,
    dtype: torch.dtype | str = torch.float64,
    device: torch.device | str | None = None,
) -> nn.Conv2d:
    """A torch.nn.Conv2d with uninitialised weights; a model's `init` draws them from a Key."""
    return skip_init(
        nn.Conv2d,
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding,
        bias=bias,
        dtype=as_dtype(dtype),
        device=device or "cpu",
    )


def ConvTranspose2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    *,
    bias: bool = True,
    dtype: torch.dtype | str = torch.float64,
    device: torch.device | str | None = None,
) -> nn.ConvTranspose2d:
    """A torch.nn.ConvTranspose2d with uninitialised weights; a model's `init` draws them."""
    return skip_init(
        nn.ConvTranspose2d,
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding,
        output_padding,
        bias=bias,
        dtype=as_dtype(dtype),
        device=device or "cpu",
    )
