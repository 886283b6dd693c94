"""What a recurrent network's units are for: the linear layer, and the error of what it gives.

Both keep one interface: parameters `weight` (O, H) and `bias` (O), as torch.nn.Linear's; `forward`
gives the error of every step, `outputs` what the layer gives.
Right panel: torch_impl/recurrent/outputs.py
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from numpy_ref.nn import checks
from numpy_ref.nn.module import Array, Module, Parameter, Vjp, as_dtype

BLOCK = 320_000
"""Logits worked on at once, in whole rows, so that they stay in the cache from max to division."""


class Output(Module):
    """outputs = W h + b.   (..., H) -> (..., O)"""

    def __init__(self, in_dim: int, out_dim: int, dtype: DTypeLike = np.float64) -> None:
        self.weight = Parameter(np.empty((out_dim, in_dim), as_dtype(dtype)))
        self.bias = Parameter(np.empty(out_dim, as_dtype(dtype)))

    def outputs(self, h: Array) -> Array:
        """W h + b; value only.   (..., H) -> (..., O)"""
        y = h.reshape(-1, h.shape[-1]) @ self.weight.data.T + self.bias.data
        return y.reshape(*h.shape[:-1], -1)

    def forward(self, h: Array, y: Array) -> tuple[Array, Vjp]:
        raise NotImplementedError(f"{type(self).__name__} has no error")

    def check_targets(self, y: Array, shape: tuple[int, int]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no targets")


class SoftmaxOutput(Output):
    """error = -log softmax(W h + b)[y], nats.

    Shapes: h (T, B, H), y (T, B) int64 in [0, O) -> error (T, B).
    Of the (T, B, O) arrays only d error / d logits = p - onehot(y) is kept, for the backward pass.
    """

    def forward(self, h: Array, y: Array) -> tuple[Array, Vjp]:
        rows, targets = h.reshape(-1, h.shape[-1]), y.reshape(-1)
        dlogits = rows @ self.weight.data.T
        error = np.empty(len(rows), dlogits.dtype)
        step = max(1, BLOCK // dlogits.shape[1])
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            error[block] = _softmax_nll(dlogits[block], self.bias.data, targets[block])

        def vjp(derror: Array) -> Array:
            d = derror.reshape(-1, 1)
            self.weight.add_product(dlogits.T, d * rows)
            self.bias.add_product(dlogits.T, d[:, 0])
            dh = dlogits @ self.weight.data
            dh *= d
            return dh.reshape(h.shape)

        return error.reshape(y.shape), vjp

    def check_targets(self, y: Array, shape: tuple[int, int]) -> None:
        """Raise ValueError unless y is int64 of `shape`, each in [0, O)."""
        checks.check_tokens("y", y, shape, len(self.bias.data))


def _softmax_nll(logits: Array, bias: Array, targets: Array) -> Array:
    """-log p[target] with p = softmax(logits + bias), by rows; `logits` becomes p - onehot."""
    picked = np.arange(len(targets)), targets
    logits += bias
    logits -= logits.max(1, keepdims=True)  # so that exp never overflows
    shifted = logits[picked]
    p = np.exp(logits, out=logits)
    total = p.sum(1)
    p /= total[:, None]
    p[picked] -= 1
    return np.log(total) - shifted


class SquaredErrorOutput(Output):
    """error = sum_o (W h + b - y)_o^2.

    Shapes: h (T, B, H), y (T, B, O) -> error (T, B).
    """

    def forward(self, h: Array, y: Array) -> tuple[Array, Vjp]:
        d = self.outputs(h) - y
        error = (d * d).sum(-1)

        def vjp(derror: Array) -> Array:
            dout = (2 * d * derror[..., None]).reshape(-1, d.shape[-1])
            self.weight.add_product(dout.T, h.reshape(len(dout), -1))
            self.bias.grad += dout.sum(0)
            return (dout @ self.weight.data).reshape(h.shape)

        return error, vjp

    def check_targets(self, y: Array, shape: tuple[int, int]) -> None:
        """Raise ValueError unless y is (*shape, O), finite and of the layer's dtype."""
        checks.check_noise("y", y, (*shape, len(self.bias.data)), self.bias.data.dtype)


OUTPUTS: dict[str, type[Output]] = {
    "cross_entropy": SoftmaxOutput,
    "squared_error": SquaredErrorOutput,
}


def weighted_loss(error: Array, weight: Array | None) -> tuple[Array, Array, Array]:
    """Sum over T of weight * error, averaged over B; the weighted mean; d sum / d error.

    Shapes: error (T, B), weight (T, B) or None for ones everywhere.
    """
    w = np.ones_like(error) if weight is None else weight
    weighted = (w * error).sum()
    return weighted / error.shape[1], weighted / w.sum(), w / error.shape[1]
