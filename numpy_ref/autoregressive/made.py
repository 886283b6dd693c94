"""MADE, a network that reads dimensions in an order, by hand.

Shapes: D dimensions, I inputs and O outputs of a layer, N rows, H hidden units.
Source: Germain, Gregor, Murray & Larochelle, "MADE: masked autoencoder for distribution
estimation" (2015), arXiv 1502.03509.
Right panel: torch_impl/autoregressive/made.py
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from model_specs.autoregressive.flow import made_degrees
from numpy_ref.nn.functional import ReLU, linear
from numpy_ref.nn.module import Array, Module, Parameter, Sequential, Vjp, as_dtype


class MaskedLinear(Module):
    """y = x (W * mask)ᵀ + b: each output reads the inputs whose degree is not above its own.

        mask[o, i] = out_degrees[o] >= in_degrees[i]

                     in_degrees  1 2 3
        out_degrees 1            # . .
                    2            # # .         # read, . masked
                    2            # # .

    A masked weight keeps its value, and its gradient is 0. The weights are uninitialised; a model's
    `init` draws them.
    Shapes: x (..., I), weight and mask (O, I), bias (O) -> y (..., O).
    Source: Germain et al. 2015, section 4; degrees as in model_specs.autoregressive.flow.
    """

    def __init__(
        self,
        in_degrees: Sequence[int],
        out_degrees: Sequence[int],
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.weight = Parameter(np.empty((len(out_degrees), len(in_degrees)), as_dtype(dtype)))
        self.bias = Parameter(np.empty(len(out_degrees), as_dtype(dtype)))
        self.mask = np.array(out_degrees)[:, None] >= np.array(in_degrees)

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        y, y_vjp = linear(x, self.weight.data * self.mask, self.bias.data)

        def vjp(dy: Array) -> Array:
            dx, dW, db = y_vjp(dy)
            dW *= self.mask  # in place: W has 400,000 elements in the flow of the paper
            self.weight.grad += dW
            self.bias.grad += db
            return dx

        return y, vjp


class MADE(Sequential):
    """Masked linear layers and ReLUs in turn; output i reads the dimensions before i in `order`.

        y_i = (W_L relu(... relu(W_1 z_<i + b_1)) + b_L)_i

    Shapes: z (..., D) -> y (..., D), or (..., 2 D) if outputs = 2: first outputs, then second.
    Source: Germain et al. 2015.   Raises: ValueError as model_specs' made_degrees.
    """

    def __init__(
        self,
        order: tuple[int, ...],
        hidden_dim: int,
        hidden_layers: int,
        outputs: int = 1,
        dtype: DTypeLike = np.float64,
    ) -> None:
        degrees = made_degrees(order, hidden_dim, hidden_layers, outputs)
        *hidden, last = [MaskedLinear(*pair, dtype=dtype) for pair in pairwise(degrees)]
        super().__init__(*(part for layer in hidden for part in (layer, ReLU())), last)
        self._order, self._hidden_degrees = order, degrees[1]

    def invert(self, eps: Array, dimension: Callable[..., Array]) -> Array:
        """The z for which z_i = dimension(eps_i, *y_i(z_<i)), one dimension at a time; value only.

        Derivation of the inverse in one pass. y_i depends on z_<i alone, so z_1 follows from eps_1,
        z_2 from eps_2 and z_1, and so on in `order`. Computing all of y for each of the D
        dimensions would cost D forward passes. But a hidden unit of degree m depends on the first m
        dimensions alone, so it has its final value once these are known. With h_l[m] the units of
        degree m in hidden layer l and h_l[<= m] all units up to that degree, stage m = 0 ... D - 1
        computes what m known dimensions determine:

            h_1[m] = relu(W_1[m, first m inputs] z_<m + b_1[m])
            h_l[m] = relu(W_l[m, <= m] h_{l-1}[<= m] + b_l[m])       l = 2 ... L - 1
            y      = W_L[outputs of the next dimension, <= m] h_{L-1}[<= m] + b_L

        and then z of the next dimension. Every unmasked weight is multiplied once, so that the
        inverse costs one forward pass. Hidden degrees ascend, so that "<= m" is a slice, which
        does here what the mask does in `forward`.

        Shapes: eps (..., D) -> z (..., D); inside, units come first: (D, N) and (H, N).
        """
        order = np.array(self._order)
        first, *layers = [layer for layer in self if isinstance(layer, MaskedLinear)]
        weights = [first.weight.data[:, order], *(layer.weight.data for layer in layers)]
        biases = [layer.bias.data[:, None] for layer in (first, *layers)]
        rows = eps.reshape(-1, len(order)).T[order]
        z, _ = invert_made(rows, self._order, self._hidden_degrees, weights, biases, dimension)
        return z[np.argsort(order)].T.reshape(eps.shape)


def invert_made(
    eps: Array,
    order: tuple[int, ...],
    degrees: Sequence[int],
    weights: Sequence[Array],
    biases: Sequence[Array],
    dimension: Callable[..., Array],
) -> tuple[Array, list[Array]]:
    """The z for which z_i = dimension(eps_i, *y_i(z_<i)), and the hidden units at this z.

    `degrees` are those of a hidden layer, in ascending order. Rows of eps and of z are in `order`,
    and so are the columns of the first weight; outputs of the last layer are not.
    Shapes: eps and z (D, N); each weight (O, I), each bias (O, 1) or (O, N); hidden units (H, N).
    """
    z = np.empty_like(eps)
    *layers, (last_weight, last_bias) = zip(weights, biases, strict=True)
    hidden = [np.empty((len(weight), z.shape[1]), z.dtype) for weight, _ in layers]

    for m, d in enumerate(order):
        known, units = z[:m], slice(bisect_left(degrees, m), bisect_right(degrees, m))
        for h, (weight, bias) in zip(hidden, layers, strict=True):
            h[units] = np.maximum(weight[units, : len(known)] @ known + bias[units], 0)
            known = h[: units.stop]
        outputs = slice(d, None, len(order))  # the outputs of dimension d
        y = last_weight[outputs, : len(known)] @ known + last_bias[outputs]
        z[m] = dimension(eps[m], *y)

    return z, hidden
