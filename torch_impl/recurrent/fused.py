"""Run a recurrent layer with torch's fused kernel, in float32 where half precision cannot train.

On a GPU the kernel is cuDNN's. On a CPU under autocast torch passes a half-precision LSTM to
oneDNN, which has no kernel that trains for some processors (float16 with AVX512-FP16, either
dtype with AVX2 alone) and some settings of ONEDNN_MAX_CPU_ISA. There the layer runs in float32,
as autocast runs every operation that has no half-precision kernel. The left panel has no fused
kernel and no such file.

Shapes: T steps, B sequences, I inputs, H units.
Source: torch.rnn_tanh and torch.lstm.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

KERNELS = ("fused", "loop")
"""fused: torch's own kernel, or the loop over steps if h_{t-1} has a mask. loop: always the loop.
Their results agree to rounding."""


class FusedKernel(NamedTuple):
    """torch.rnn_tanh or torch.lstm under one signature."""

    run: Callable[[Tensor, tuple[Tensor, ...], tuple[Tensor, ...], bool], tuple[Tensor, ...]]
    """run(x (T, B, I), state of (1, B, H), the layer's weights, training) -> h, *last state"""
    gates: int
    parts: int
    """Number of arrays in the state."""


def _run_rnn(
    x: Tensor, state: tuple[Tensor, ...], weights: tuple[Tensor, ...], training: bool
) -> tuple[Tensor, ...]:
    return torch.rnn_tanh(x, state[0], weights, True, 1, 0.0, training, False, False)


def _run_lstm(
    x: Tensor, state: tuple[Tensor, ...], weights: tuple[Tensor, ...], training: bool
) -> tuple[Tensor, ...]:
    return torch.lstm(x, state, weights, True, 1, 0.0, training, False, False)


RNN_KERNEL = FusedKernel(_run_rnn, gates=1, parts=1)
LSTM_KERNEL = FusedKernel(_run_lstm, gates=4, parts=2)


def run_fused(
    kernel: FusedKernel,
    x: Tensor,
    state: tuple[Tensor, ...],
    weights: tuple[Tensor, ...],
    training: bool,
) -> tuple[Tensor, ...]:
    """One layer over all steps.   x (T, B, I), state of (B, H) -> h (T, B, H), *last state"""
    first = tuple(part[None].contiguous() for part in state)
    if x.device.type != "cpu" or half_precision_trains(kernel):
        h, *last = kernel.run(x, first, weights, training)
    else:
        with torch.autocast("cpu", enabled=False):
            h, *last = kernel.run(x.to(weights[0].dtype), first, weights, training)
    return h, *(part[0] for part in last)


def half_precision_trains(kernel: FusedKernel) -> bool:
    """True if the kernel trains on this CPU in the precision that autocast asks for."""
    # a compiled layer is split into simple operations, and does not call oneDNN's LSTM
    if torch.compiler.is_compiling() or not torch.is_autocast_enabled("cpu"):
        return True
    return _trains(kernel, torch.get_autocast_dtype("cpu"))


@functools.cache
def _trains(kernel: FusedKernel, dtype: torch.dtype) -> bool:
    """True if a layer of one unit runs forward and backward. torch has no query for it."""
    x = torch.ones(1, 1, 1, requires_grad=True)
    state = tuple(torch.zeros(1, 1, 1) for _ in range(kernel.parts))
    shapes = ((kernel.gates, 1), (kernel.gates, 1), (kernel.gates,), (kernel.gates,))
    weights = tuple(torch.ones(shape, requires_grad=True) for shape in shapes)
    try:
        with torch.enable_grad(), torch.autocast("cpu", dtype):
            y = kernel.run(x, state, weights, True)[0]
            torch.autograd.grad(y.float().sum(), [x, *weights])
    except RuntimeError:
        return False
    return True
