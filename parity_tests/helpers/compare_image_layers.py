"""Batch normalisations with random weights, and errors of image layers against torch.nn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from diptych import weights
from diptych.parity.measures.rows import normwise
from numpy_ref.nn.convolution import Conv2d, ConvTranspose2d
from numpy_ref.nn.layers import BatchNorm2d
from numpy_ref.nn.module import Module

PAIRS = {Conv2d: nn.Conv2d, ConvTranspose2d: nn.ConvTranspose2d}
SHAPE = (4, 3, 5, 6)
NAMES = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def make_norms(
    rng: np.random.Generator, dtype: str = "float64", **settings: Any
) -> tuple[BatchNorm2d, nn.BatchNorm2d]:
    """(left, right) with the same random weights and running statistics."""
    left = BatchNorm2d(SHAPE[1], dtype=dtype, **settings)
    for parameter in left.parameters():
        parameter.data[...] = rng.normal(size=SHAPE[1])
    left.running_mean.data[...] = rng.normal(size=SHAPE[1])
    left.running_var.data[...] = rng.uniform(0.3, 3, SHAPE[1])
    left.num_batches_tracked.data[...] = 7
    right = nn.BatchNorm2d(SHAPE[1], dtype=getattr(torch, dtype), **settings)
    weights.transfer(left, right)
    return left, right


def ramp(rng: np.random.Generator, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Random images whose channels have different means and standard deviations."""
    channel = np.arange(shape[1])[:, None, None]
    return (1 + channel) * rng.normal(size=shape) + 3 * channel - 2


def torch_errors(
    left: Module, right: nn.Module, x: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """Normwise errors of the left layer after one forward and backward pass of both: of y, dx, the
    gradient of each parameter, and each buffer afterwards."""
    left.zero_grad(), right.zero_grad()
    y, vjp = left(x)
    # with a mean of 0.5: the gradient of a bias is a sum that could cancel by chance
    dy = 0.5 + rng.normal(size=y.shape)
    result = {"y": y, "dx": vjp(dy)} | left.gradients()
    result |= {f"{name} after": buffer.data for name, buffer in left.named_buffers()}
    read = torch.from_numpy(x).requires_grad_()
    out = right(read)
    out.backward(torch.from_numpy(dy))
    expected = {"y": out, "dx": read.grad} | {n: p.grad for n, p in right.named_parameters()}
    saved = right.state_dict()  # without masks
    expected |= {f"{name} after": buffer for name, buffer in right.named_buffers() if name in saved}
    assert result.keys() == expected.keys()
    pairs = {name: (array, expected[name].detach().numpy()) for name, array in result.items()}
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs.values())
    return {name: normwise(*pair) for name, pair in pairs.items()}
