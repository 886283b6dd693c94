"""FLOPs and bytes of the tanh RNN: see diptych.bench.costs.recurrent for the formulas; G = 1."""

from __future__ import annotations

from diptych.bench.costs import recurrent
from diptych.bench.costs.layers import linear
from diptych.bench.costs.part import CLIPPED_SGD, Work, elementwise
from model_specs.rnn import RNNConfig

TOKEN_BYTES = 8


def work(config: RNNConfig, batch_size: int) -> Work:
    """The work of one step on x (T, B, I) and y, with dropout, clipping and SGD."""
    c, B = config, batch_size
    steps, inputs, outputs = c.seq_len * B, c.input_dim, c.output_dim
    symbols = c.likelihood == "cross_entropy"
    parts = (
        *recurrent.layers(c, B, inputs, 1, 2, input_grad=False),
        linear("output layer", steps, c.hidden_dim, outputs),
        elementwise("error", steps * outputs, 1 if symbols else 2),
    )
    targets = 0 if symbols else steps * outputs
    return Work(
        parts,
        data=steps * inputs + targets + recurrent.states(c, B, 1),
        optimizer=CLIPPED_SGD,
        other_bytes=recurrent.mask_bytes(c, B, inputs) + TOKEN_BYTES * steps * symbols,
    )
