"""The convolutional VAE, whole and by its layers, beside torch's own.

A layer is timed forward and backward, all its gradients included, on the images its name tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy_ref.nn.normalisation
import torch
from torch import nn

import numpy_ref.nn.convolution
import numpy_ref.nn.layers
import torch_impl.nn.layers
from diptych import weights
from diptych.bench import layer, whole
from diptych.bench.workload import Runs
from diptych.pairs.pair import Pair
from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.nn.module import Module, as_dtype

KEY = Key(0).fold_in("bench")


class Layer(NamedTuple):
    """A layer on both panels, of given channels, and the images it is timed on."""

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
WORK = (*whole.WORK, *LAYERS)


def runs(
    pair: Pair,
    config: Any,
    batch_size: int,
    dtype: str,
    work: str,
    devices: list[str],
    compiled: bool,
) -> Runs:
    """One callable for each way; layers are not compiled, for there is nothing to fuse."""
    if work in whole.WORK:
        return whole.runs(pair, config, batch_size, dtype, work, devices, compiled)
    made = LAYERS[work]
    left = made.left(*made.arguments, dtype=dtype)
    for name, parameter in left.named_parameters():
        parameter.data[...] = 0.1 * random.normal(KEY.fold_in(name), parameter.data.shape)
    x = random.normal(KEY.fold_in("x"), made.images, dtype=as_dtype(dtype))
    dy = random.normal(KEY.fold_in("dy"), left(x)[0].shape, dtype=as_dtype(dtype))
    result = {"numpy": layer.left(left, x, dy)}
    for device in devices:
        right = made.right(*made.arguments, dtype=getattr(torch, dtype), device=device)
        weights.transfer(left, right)
        there = (torch.from_numpy(array).to(device) for array in (x, dy))
        result[f"torch {device}"] = layer.right(right, *there)
    return result
