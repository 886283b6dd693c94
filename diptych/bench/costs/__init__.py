"""FLOPs and bytes of a forward pass, of all gradients, and of a training step, by configuration.

`cost(pair, config, batch_size, dtype, operation)` sums the parts of the loss that the module of the
pair lists. A Cost has a least and a larger number of each kind:

    flops         products of the matrix products and convolutions that the equations have
    dense_flops   the same with masked weights and paddings, as dense kernels multiply them
    bytes         compulsory traffic: every input, weight and result is moved once
    traffic       every part reads its inputs and weights and writes its outputs, and no cache and
                  no fusion saves any of it

The roofline takes the least ones, so that it is a bound for every implementation. `dense_flops` are
those that torch.utils.flop_counter.FlopCounterMode counts on the right panel. A multiplication with
its addition counts as two FLOPs; exp, tanh and other elementwise functions count as none, they are
in `traffic`.

Compulsory bytes, with P parameters and itemsize bytes a value:

    forward      batch, noise and P once
    gradients    the same, and P gradients written
    step         the same, and the optimiser: 7 P for Adam and Adamax, which read p, g, m and v
                 and write p, m and v; 4 P for SGD with clipping, which reads g twice and p once and
                 writes p
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.bench.costs import conv_vae, lstm, mlp_vae, rnn, vlae
from diptych.bench.costs.part import Part, Products, Work
from diptych.pairs.pair import Pair
from model_specs.common.fields import check_choice
from model_specs.conv_vae import ConvVAEConfig
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from model_specs.rnn import RNNConfig
from model_specs.vlae import VLAEConfig

__all__ = ["OPERATIONS", "Cost", "Part", "Products", "Work", "cost", "work"]

OPERATIONS = ("forward", "gradients", "step")
WORK: Mapping[type, Callable[[Any, int], Work]] = {
    MLPVAEConfig: mlp_vae.work,
    ConvVAEConfig: conv_vae.work,
    VLAEConfig: vlae.work,
    RNNConfig: rnn.work,
    LSTMConfig: lstm.work,
}
"""The function (config, batch size) -> Work of each pair, by the class of its configs."""


@dataclass(frozen=True)
class Cost:
    """FLOPs and bytes of one operation on one batch; the module's docstring defines them."""

    flops: float
    bytes: float
    dense_flops: float
    traffic: float


def work(pair: Pair, config: Any, batch_size: int) -> Work:
    """The parts of the pair's loss. Raises: ValueError for a pair whose work is not known."""
    if pair.config not in WORK:
        takes = ", ".join(kind.__name__ for kind in WORK)
        raise ValueError(f"pair: got one of {pair.config.__name__}, takes one of {takes}")
    return WORK[pair.config](config, batch_size)


def cost(pair: Pair, config: Any, batch_size: int, dtype: Any, operation: str) -> Cost:
    """The Cost of "forward", "gradients" or "step" on a batch.

    Raises: ValueError for another operation, or a pair whose work is not known.

    >>> from diptych import pairs
    >>> from model_specs.mlp_vae import MLPVAEConfig
    >>> cost(pairs.get("mlp_vae"), MLPVAEConfig(784, 400, 20), 128, "float32", "forward").flops
    166707200
    """
    check_choice("operation", operation, OPERATIONS)
    steps, itemsize = work(pair, config, batch_size), np.dtype(dtype).itemsize
    parts, P = steps.parts, steps.parameters
    flops = sum(part.needed.forward for part in parts)
    dense = sum(part.dense.forward for part in parts)
    values = steps.data + P - steps.unread
    passes = sum(part.forward_values for part in parts)
    if operation != "forward":
        flops += sum(part.needed.backward for part in parts)
        dense += sum(part.dense.backward for part in parts)
        values += P
        passes += sum(part.backward_values for part in parts)
    if operation == "step":
        values += steps.optimizer * P
        passes += steps.optimizer * P
    least, most = (itemsize * count + steps.other_bytes for count in (values, passes))
    return Cost(flops, least, dense, most)
