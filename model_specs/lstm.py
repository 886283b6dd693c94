"""The LSTM language model: config, batch, state and loss terms.

`Any` stands for an array of either panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.fields import check_positive_int, check_rate, check_real
from model_specs.recurrent.dropout import RecurrentConfig


@dataclass(frozen=True)
class LSTMConfig(RecurrentConfig):
    """The L-layer LSTM language model, D being dropout:

        x_t = E[token_t];   [i, f, g, o] = W_x D(h^{l-1}_t) + W_h h^l_{t-1} + b
        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);   h_t = sigmoid(o) tanh(c_t)
        p(token_{t+1}) = softmax(W D(h^L_t) + b)

    Source: Zaremba, Sutskever & Vinyals (2014), arXiv 1409.2329, equations of sections 3 and 3.2;
    gates in torch's order. Raises: ValueError that names the field, its value and what is allowed.
    """

    vocab_size: int = 10000
    """The vocabulary has V = vocab_size words: 10000 for the Penn Treebank."""
    embedding_dim: int = 200
    """A word vector has E = embedding_dim values; the paper takes E = H."""
    hidden_dim: int = 200
    num_layers: int = 2
    seq_len: int = 20
    word_rate: float = 0.0
    """With this probability, in [0, 1), the whole vector of a word is dropped wherever the word
    stands in the window (Gal & Ghahramani 2016)."""
    tied: bool = False
    """If True, the softmax layer shares the embedding's weight (Press & Wolf 2017), which needs E =
    H."""
    init_scale: float = 0.1
    """Every parameter, biases and embeddings included, starts as U(-init_scale, init_scale)."""
    forget_bias: float = 0.0
    """This number is added to the initial input bias of the forget gate. It is 0 in the paper; 1 or
    more lets cell states persist for longer (Jozefowicz, Zaremba & Sutskever 2015)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_int("vocab_size", self.vocab_size)
        check_positive_int("embedding_dim", self.embedding_dim)
        check_rate("word_rate", self.word_rate)
        check_real("init_scale", self.init_scale, above=0)
        check_real("forget_bias", self.forget_bias, above=0, inclusive=True)
        if self.tied and self.embedding_dim != self.hidden_dim:
            raise ValueError(
                f"tied: got True with embedding_dim {self.embedding_dim} and hidden_dim "
                f"{self.hidden_dim}, takes True only if the two are equal"
            )


class LSTMState(NamedTuple):
    """The hidden and cell states, which carry over from one window to the next."""

    h: Any  # (L, B, H)
    c: Any  # (L, B, H)


class LSTMBatch(NamedTuple):
    """One window of B texts, T steps first."""

    x: Any  # (T, B) int64 in [0, V)
    y: Any  # (T, B) int64 in [0, V): the tokens that follow
    state: LSTMState
    weight: Any = None  # (T, B): the weight of each step in the loss; None: 1


class LSTMLoss(NamedTuple):
    """Terms of the loss in nats, and the state after the last step, which passes no gradient on."""

    total: Any  # sum over T of the weighted -log p, averaged over B; this is differentiated
    nll: Any  # weighted mean of -log p over all tokens; exp(nll) is the perplexity
    state: LSTMState
