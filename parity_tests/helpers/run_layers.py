"""Run a layer of either panel on arrays, and compare the outputs and gradients of both panels."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.arrays import leaves, to_numpy
from diptych.parity.measures.rows import normwise


def tensors(*arrays: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Return the arrays as tensors that share their memory."""
    return tuple(map(torch.from_numpy, arrays))


def outputs_of(layer: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    """Outputs of a layer of either panel, as arrays."""
    if isinstance(layer, nn.Module):
        outputs = layer(*map(torch.from_numpy, inputs))
    else:
        outputs, _ = layer(*inputs)
    return [to_numpy(array) for _, array in leaves(outputs)]


def outputs_and_gradients(
    layer: Any, inputs: tuple[np.ndarray, ...], cotangents: list[np.ndarray]
) -> Any:
    """Outputs, input gradients and parameter gradients of either panel, by name."""
    layer.zero_grad()
    if isinstance(layer, nn.Module):
        tensors_in = [torch.from_numpy(x.copy()).requires_grad_() for x in inputs]
        outputs = [y for _, y in leaves(layer(*tensors_in))]
        torch.autograd.backward(outputs, [torch.from_numpy(dy) for dy in cotangents])
        gradients: Any = [x.grad for x in tensors_in]
        named = {name: p.grad for name, p in layer.named_parameters()}
    else:
        y, vjp = layer(*inputs)
        outputs, gradients = [array for _, array in leaves(y)], vjp(*cotangents)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        named = layer.gradients()
    result = {f"y{i}": y for i, y in enumerate(outputs)}
    result |= {f"dx{i}": dx for i, dx in enumerate(gradients)} | named
    return {name: None if a is None else np.array(to_numpy(a)) for name, a in result.items()}


def normwise_errors(
    left: Any, right: Any, inputs: tuple[np.ndarray, ...], rng: np.random.Generator
) -> dict[str, float]:
    """Normwise error of each output and gradient, but for gradients that are None on the left."""
    outputs = outputs_of(copy.deepcopy(left), *inputs)  # a copy: a call may update a buffer
    # not of mean 0: a bias's gradient is one sum, which may cancel by chance
    cotangents = [np.asarray(0.5 + rng.normal(size=y.shape)) for y in outputs]
    ours, theirs = (outputs_and_gradients(side, inputs, cotangents) for side in (left, right))
    ours = {name: array for name, array in ours.items() if array is not None}
    assert dict(left.named_parameters()).keys() <= ours.keys() <= theirs.keys()
    for name, array in ours.items():
        assert (array.shape, array.dtype) == (theirs[name].shape, theirs[name].dtype), name
    return {name: normwise(array, theirs[name]) for name, array in ours.items()}
