"""FLOPs and bytes that the RNN and the LSTM share: layers over time, dropout, output layer.

A layer of H units and G gates with I inputs has, over T steps of B sequences, 2 T B G H (I + H)
FLOPs forward: 2 (I + H) H a step for the tanh RNN, 8 (I + H) H for the LSTM, for each sequence. The
gradients of its weights have as many, that of its inputs 2 T B G H I, and that of its states
2 (T - 1) B G H H, because none leaves the window. The output layer has 2 T B H O forward and twice
as many backward.
"""

from __future__ import annotations

import math

from diptych.bench.costs.layers import linear
from diptych.bench.costs.part import Part, Products, elementwise
from model_specs.recurrent.dropout import RecurrentConfig, mask_plans


def layers(
    config: RecurrentConfig, B: int, inputs: int, gates: int, cell_values: int, *, input_grad: bool
) -> list[Part]:
    """The parts of all layers; `cell_values` is the number of values of a unit's state and gates
    that its cell reads."""
    T, H, GH = config.seq_len, config.hidden_dim, gates * config.hidden_dim
    parts: list[Part] = []
    for layer in range(config.num_layers):
        width = H if layer else inputs
        parts += [
            linear(f"inputs {layer}", T * B, width, GH, input_grad=input_grad or layer > 0),
            _recurrence(f"recurrence {layer}", T, B, H, GH),
            elementwise(f"cell {layer}", T * B * H, cell_values),
        ]
    for plan in mask_plans(config, inputs, T):
        name = f"dropout, {plan.name}"
        parts += [elementwise(name, T * B * width) for width in plan.widths]
    return parts


def _recurrence(name: str, T: int, B: int, H: int, GH: int) -> Part:
    """W_hh h_{t-1} at every step; the weight and its bias b_hh are read anew at every step."""
    forward = 2 * T * B * GH * H
    products = Products(forward, 2 * (T - 1) * B * GH * H, forward)
    size = GH * H + GH
    return Part(
        name, T * B * H, T * B * GH, T * size, parameters=size, needed=products, dense=products
    )


def mask_bytes(config: RecurrentConfig, B: int, inputs: int) -> int:
    """Bytes of the dropout masks of all connections, one for each unit."""
    plans = mask_plans(config, inputs, config.seq_len)
    return sum(plan.steps * B * width for plan in plans for width in plan.widths)


def states(config: RecurrentConfig, B: int, count: int) -> int:
    """Values of the state before the window and after it, in `count` arrays each."""
    return 2 * count * math.prod((config.num_layers, B, config.hidden_dim))
