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
    """A step has I = input_dim inputs: a one-hot symbol, or numbers."""
    hidden_dim: int = 128
    num_layers: int = 1
    output_dim: int = 16
    """A step has O = output_dim outputs: logits over O symbols, or O numbers."""
    seq_len: int = 64
    likelihood: str = "cross_entropy"
    """The error of a step is -log softmax(outputs)[y] in nats for symbols y (cross_entropy), or the
    sum over O of (output - y)^2 for numbers y (squared_error)."""
    weight_std: float = 0.01
    """Weights start as N(0, weight_std^2) and biases as 0. The sources take 0.01."""
    recurrent_gain: float = 0.0
    """W_hh starts as N(0, weight_std^2) plus recurrent_gain times the identity. The sources take 0;
    with 1 (Le, Jaitly & Hinton 2015) a tanh RNN can carry information over a hundred steps."""

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
    weight: Any = None  # (T, B): the weight of each step in the loss; None: 1


class RNNLoss(NamedTuple):
    """Terms of the loss, and the state after the last step, which passes no gradient on."""

    total: Any  # sum over T of the weighted errors, averaged over B
    error: Any  # weighted mean over all steps: nats per symbol, or squared error per step
    state: RNNState
