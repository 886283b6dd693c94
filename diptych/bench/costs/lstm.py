"""FLOPs and bytes of the LSTM language model: see diptych.bench.costs.recurrent; G = 4, O = V.

The embedding multiplies nothing. A forward pass reads the rows of the words that occur, at most
min(T B, V) of V; their gradient and the optimiser are over the whole matrix.
"""

from __future__ import annotations

from diptych.bench.costs import recurrent
from diptych.bench.costs.layers import linear
from diptych.bench.costs.part import CLIPPED_SGD, Part, Work, elementwise
from model_specs.lstm import LSTMConfig

TOKEN_BYTES = 8
CELL_VALUES = 5
"""The four gates and c_{t-1}."""


def work(config: LSTMConfig, batch_size: int) -> Work:
    """The work of one step on x and y (T, B), with dropout, clipping and SGD."""
    c, B = config, batch_size
    steps, V, E = c.seq_len * B, c.vocab_size, c.embedding_dim
    embedding = 0 if c.tied else V * E
    parts = (
        Part("embedding", steps * E, steps * E, parameters=embedding),
        *([elementwise("dropout, words", steps * E)] if c.word_rate else []),
        *recurrent.layers(c, B, E, 4, CELL_VALUES, input_grad=True),
        linear("output layer", steps, c.hidden_dim, V),
        elementwise("error", steps * V),
    )
    words = B * V if c.word_rate else 0
    return Work(
        parts,
        data=recurrent.states(c, B, 2),
        optimizer=CLIPPED_SGD,
        other_bytes=recurrent.mask_bytes(c, B, E) + words + 2 * TOKEN_BYTES * steps,
        unread=max(embedding - steps * E, 0),
    )
