"""The inverse of a MADE in one pass, by hand.

MADE.invert in flow.py has the derivation.
Shapes: D dimensions, N rows, H hidden units, I inputs and O outputs of a layer.
Source: own design.
Right panel: torch_impl/autoregressive/made_inverse.py
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

import numpy as np

from numpy_ref.nn.module import Array


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
