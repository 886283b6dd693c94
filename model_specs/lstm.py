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
    """V. 10000 for the Penn Treebank."""
    embedding_dim: int = 200
    """E, values a word vector; the paper takes H."""
    hidden_dim: int = 200
    num_layers: int = 2
    seq_len: int = 20
    scheme: str = "none"
    rate: float = 0.0
    recurrent_rate: float | None = None
    word_rate: float = 0.0
    """Gal & Ghahramani's dropout of words: with this probability all of a word's vector is
    dropped, wherever in the window the word stands."""
    tied: bool = False
    """The softmax layer's weight is the embedding's (Press & Wolf 2017): needs E = H."""
    init_scale: float = 0.1
    """Every parameter, biases and embeddings too, starts as U(-init_scale, init_scale)."""
    forget_bias: float = 0.0
    """Added to the forget gates' input bias at the start; 0 in the paper, 1 or more helps a long
    memory (Jozefowicz, Zaremba & Sutskever 2015)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_int("vocab_size", self.vocab_size)
        check_positive_int("embedding_dim", self.embedding_dim)
        check_rate("word_rate", self.word_rate)
        check_real("init_scale", self.init_scale, above=0)
        check_real("forget_bias", self.forget_bias, above=0, inclusive=True)
        if self.tied and self.embedding_dim != self.hidden_dim:
            raise ValueError(
                f"tied: got True with embedding_dim {self.embedding_dim}, takes it only where that "
                f"is hidden_dim, {self.hidden_dim}"
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
    weight: Any = None  # (T, B): what each step counts in the loss; None: 1


class LSTMLoss(NamedTuple):
    """Terms of the loss, nats, and the state after the last step, cut off from what led to it."""

    total: Any  # sum over T of the weighted -log p, averaged over B: what is differentiated
    nll: Any  # their weighted mean over all tokens; exp(nll) is the perplexity
    state: LSTMState
