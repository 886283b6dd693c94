"""The teaching RNN: config, batch, state and loss terms.

`Any` stands for an array of either panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.fields import check_choice, check_positive_int, check_real
from model_specs.recurrent.dropout import RecurrentConfig

LIKELIHOODS = ("cross_entropy", "squared_error")


@dataclass(frozen=True)
class RNNConfig(RecurrentConfig):
    """The tanh RNN, dense inputs and dense outputs, D being dropout:

        h_t = tanh(W_xh D(x_t) + W_hh h_{t-1} + b_h);   y_t = W_hy D(h_t) + b_y

    Source: the teaching RNN of section 3 of Zaremba et al. (2014); b_h is the sum of torch's two
    biases. Raises: ValueError that names the field, its value and what is allowed.
    """

    input_dim: int = 16
    """I, values a step: a one-hot symbol, or the numbers of a task."""
    hidden_dim: int = 128
    num_layers: int = 1
    output_dim: int = 16
    """O, values a step: logits over O symbols, or O numbers."""
    seq_len: int = 64
    scheme: str = "none"
    rate: float = 0.0
    recurrent_rate: float | None = None
    likelihood: str = "cross_entropy"
    """cross_entropy: y are symbols, -log softmax(outputs)[y], nats. squared_error: y are numbers,
    sum over O of (output - y)^2."""
    weight_std: float = 0.01
    """Weights ~ N(0, 0.01^2), biases 0, as in the sources."""
    recurrent_gain: float = 0.0
    """W_hh starts at this multiple of the identity, plus the above: 0 as in the sources; 1 (Le,
    Jaitly & Hinton 2015) lets a tanh RNN carry something over a hundred steps at all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_int("input_dim", self.input_dim)
        check_positive_int("output_dim", self.output_dim)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        check_real("weight_std", self.weight_std, above=0)
        check_real("recurrent_gain", self.recurrent_gain, above=0, inclusive=True)


class RNNState(NamedTuple):
    """The hidden states, which carry over from one window to the next."""

    h: Any  # (L, B, H)


class RNNBatch(NamedTuple):
    """One window of B sequences, T steps first."""

    x: Any  # (T, B, I)
    y: Any  # (T, B) int64 symbols, or (T, B, O) numbers
    state: RNNState
    weight: Any = None  # (T, B): what each step counts in the loss; None: 1


class RNNLoss(NamedTuple):
    """Terms of the loss, and the state after the last step, cut off from what led to it."""

    total: Any  # sum over T of the weighted errors, averaged over B
    error: Any  # their weighted mean over all steps: nats a symbol, or squared error a step
    state: RNNState
