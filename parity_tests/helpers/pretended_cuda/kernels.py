"""Kernels that the CPU lacks, or that are one operation on a GPU.

torch.lstm and torch.rnn_tanh are one operation of cuDNN on a GPU. Here they are one operation as
well: the CPU's own kernel, whose gradient the CPU computes. Under autocast torch composes them from
smaller operations, among them CUDA's fused LSTM cell, which is written here by its definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from helpers.pretended_cuda import rules
from helpers.pretended_cuda.tensor import CudaTensor
from torch import Tensor

aten = torch.ops.aten
Gates = tuple[Tensor, Tensor, Tensor]


def lstm_cell(
    input_gates: Tensor,
    hidden_gates: Tensor,
    c: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> Gates:
    """One step of an LSTM from its gates before their activation.

        i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
        c' = f c + i g,   h' = o tanh(c')

    Shapes: gates (B, 4 H), c (B, H) -> h', c', the activated gates (B, 4 H) for the gradient.
    """
    gates = input_gates + hidden_gates
    if input_bias is not None and hidden_bias is not None:
        gates = gates + input_bias + hidden_bias
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    next_c = f * c + i * g
    return o * next_c.tanh(), next_c, torch.cat([i, f, g, o], 1)


def lstm_cell_gradient(
    dh: Tensor | None,
    dc: Tensor | None,
    c: Tensor,
    next_c: Tensor,
    gates: Tensor,
    has_bias: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of the gates, of c and of the bias."""
    i, f, g, o = gates.chunk(4, 1)
    tanh = next_c.tanh()
    dh = torch.zeros_like(next_c) if dh is None else dh
    d = dh * o * (1 - tanh * tanh)
    d = d if dc is None else d + dc
    parts = (d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g * g), dh * tanh * o * (1 - o))
    dgates = torch.cat(parts, 1)
    return dgates, d * f, dgates.sum(0) if has_bias else None


REPLACED: dict[Any, Callable[..., Any]] = {
    aten._thnn_fused_lstm_cell.default: lstm_cell,
    aten._thnn_fused_lstm_cell_backward_impl.default: lstm_cell_gradient,
}


def install() -> None:
    """Make torch.lstm and torch.rnn_tanh one operation on the device."""
    for name in ("lstm", "rnn_tanh"):
        replaced = _one_operation(name, getattr(torch, name))
        setattr(torch, name, replaced)
        setattr(torch._VF, name, replaced)  # torch.nn calls it by this name


def _one_operation(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Tensor, state: Any, weights: Any, *options: Any) -> Any:
        if not isinstance(x, CudaTensor) or torch.is_autocast_enabled("cuda"):
            return run(x, state, weights, *options)
        states = (state,) if isinstance(state, Tensor) else tuple(state)
        tensors = (x, *states, *weights)
        if not all(isinstance(t, CudaTensor) for t in tensors):
            rules.refuse(name, "Input, hidden and parameter tensors are not at the same device")

        def compute(x: Tensor, *rest: Tensor) -> Any:
            part: Any = rest[: len(states)]
            part = part[0] if isinstance(state, Tensor) else part
            return run(x, part, rest[len(states) :], *options)

        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            return _OnTheCpu.apply(compute, *tensors)
        return tuple(map(CudaTensor, compute(*(t.numbers.detach() for t in tensors))))

    return call


class _OnTheCpu(torch.autograd.Function):
    """compute(tensors of the CPU) as one differentiable operation of the device."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Any], *tensors: CudaTensor) -> Any:
        pairs = zip(tensors, ctx.needs_input_grad[1:], strict=True)
        leaves = [t.numbers.detach().requires_grad_(needed) for t, needed in pairs]
        with torch.enable_grad():
            outputs = compute(*leaves)
        ctx.leaves, ctx.outputs = leaves, outputs
        return tuple(CudaTensor(t.detach()) for t in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: CudaTensor) -> Any:
        inputs = [leaf for leaf in ctx.leaves if leaf.requires_grad]
        inner = [g.numbers for g in gradients]
        result = iter(torch.autograd.grad(ctx.outputs, inputs, inner, retain_graph=True))
        wrapped = (CudaTensor(next(result)) if t.requires_grad else None for t in ctx.leaves)
        return (None, *wrapped)
