"""Layers with parameters, and activations as layers. Right panel: torch.nn."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.key import Key
from numpy_ref.nn import functional
from numpy_ref.nn.init import fan_in_uniform
from numpy_ref.nn.module import Array, Module, Parameter, Vjp, as_dtype


class Linear(Module):
    """y = x Wᵀ + b.

    Shapes: x (..., I), weight (O, I), bias (O) -> y (..., O).
    `input_grad=False` is for a layer that reads data: nobody asks for dx, so it is not computed.
    Source: torch.nn.Linear, its initialisation included; the weights come from `key`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: DTypeLike = np.float64,
        *,
        input_grad: bool = True,
    ) -> None:
        self.weight = Parameter(np.empty((out_features, in_features), as_dtype(dtype)))
        self.bias = Parameter(np.empty(out_features, as_dtype(dtype)))
        self._input_grad = input_grad
        fan_in_uniform(self, key)

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        y, y_vjp = functional.linear(
            x, self.weight.data, self.bias.data, input_grad=self._input_grad
        )

        def vjp(dy: Array) -> Array | None:
            dx, dW, db = y_vjp(dy)
            self.weight.grad += dW
            self.bias.grad += db
            return dx

        return y, vjp


class Embedding(Module):
    """y = E[ids].

    Shapes: ids (...) int64 in [0, V), weight (V, D) -> y (..., D). The ids have no gradient.
    Source: torch.nn.Embedding. Its weights are not yet set: a model's init draws them.
    """

    def __init__(self, vocab_size: int, dim: int, dtype: DTypeLike = np.float64) -> None:
        self.weight = Parameter(np.empty((vocab_size, dim), as_dtype(dtype)))

    def forward(self, ids: Array) -> tuple[Array, Vjp]:
        y, _ = functional.embedding(ids, self.weight.data)

        def vjp(dy: Array) -> None:  # the function's vjp would make an array of all V rows
            functional.add_rows(self.weight.grad, ids.reshape(-1), dy.reshape(ids.size, -1))

        return y, vjp


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        return functional.relu(x)


class Tanh(Module):
    """y = tanh(x)."""

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        return functional.tanh(x)


class ELU(Module):
    """y = max(x, 0) + min(e^x - 1, 0)."""

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        return functional.elu(x)
