"""The layers of the convolutional VAE one by one, beside torch's own layers.

A layer is timed forward and backward with all its gradients, on images of the shape in its name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

import numpy_ref.nn.convolution
import numpy_ref.nn.layers
import torch_impl.nn.layers
from diptych import weights
from diptych.bench.case import KEY, Case
from diptych.bench.passes import NumpyBackward, TorchBackward
from numpy_ref.nn import random
from numpy_ref.nn.module import Module, as_dtype


class Layer(NamedTuple):
    """A layer of both panels, its constructor arguments, and the shape of its input."""

    left: Callable[..., Module]
    right: Callable[..., nn.Module]
    arguments: tuple[int, ...]
    images: tuple[int, int, int, int]


LAYERS = {
    "Conv2d 32 -> 32, 3 x 3, on 64 x 32 x 28 x 28": Layer(
        numpy_ref.nn.convolution.Conv2d,
        torch_impl.nn.convolution.Conv2d,
        (32, 32, 3, 1, 1),
        (64, 32, 28, 28),
    ),
    "Conv2d 64 -> 128, 4 x 4, stride 2, on 64 x 64 x 16 x 16": Layer(
        numpy_ref.nn.convolution.Conv2d,
        torch_impl.nn.convolution.Conv2d,
        (64, 128, 4, 2, 1),
        (64, 64, 16, 16),
    ),
    "ConvTranspose2d 128 -> 64, 4 x 4, stride 2, on 64 x 128 x 8 x 8": Layer(
        numpy_ref.nn.convolution.ConvTranspose2d,
        torch_impl.nn.convolution.ConvTranspose2d,
        (128, 64, 4, 2, 1),
        (64, 128, 8, 8),
    ),
    "BatchNorm2d on 64 x 128 x 16 x 16": Layer(
        numpy_ref.nn.layers.BatchNorm2d, nn.BatchNorm2d, (128,), (64, 128, 16, 16)
    ),
}


def part(case: Case, operation: str, backend: str, device: str) -> Callable[[], Any]:
    """Forward and backward of a layer by one backend; returns the gradient of its images."""
    layer = LAYERS[operation]
    left = layer.left(*layer.arguments, dtype=case.dtype)
    for name, parameter in left.named_parameters():
        parameter.data[...] = 0.1 * random.normal(KEY.fold_in(name), parameter.data.shape)
    dtype = as_dtype(case.dtype)
    x = random.normal(KEY.fold_in("x"), layer.images, dtype=dtype)
    dy = random.normal(KEY.fold_in("dy"), left(x)[0].shape, dtype=dtype)
    if backend == "numpy":
        return NumpyBackward(left, partial(left, x), dy)
    right = layer.right(*layer.arguments, dtype=getattr(torch, case.dtype), device=device)
    weights.transfer(left, right)
    x_right, dy_right = (torch.from_numpy(array).to(device) for array in (x, dy))
    return TorchBackward(right, partial(right, x_right), dy_right, inputs=(x_right,))
