"""The teaching RNN, by hand.   Right panel: torch_impl/rnn.py

Source: Zaremba, Sutskever & Vinyals (2014), arXiv 1409.2329; see model_specs.rnn for every choice.
Shapes: T steps, B sequences, I inputs, H units, L layers, O outputs.

Derivation: backpropagation through time (BPTT). One step of a layer, without masks and biases, is

    a_t = W_ih x_t + W_hh h_{t-1};   h_t = tanh(a_t)

h_t has two readers: the layer above at step t, and this layer at step t + 1. With dh for the
gradient of the loss with respect to h, and so on, the gradients of both add up, from the last step
to the first:

    dh_t = dy_t + W_hhᵀ da_{t+1}                (da_{T+1} = 0: the window ends there)
    da_t = dh_t (1 - h_t^2)                     (tanh' = 1 - tanh^2)
    dx_t = W_ihᵀ da_t;   dW_ih = sum_t da_t x_tᵀ;   dW_hh = sum_t da_t h_{t-1}ᵀ;   db = sum_t da_t

Only the first two lines need the loop, which is `Recurrent.layer`; `rnn_cell` is the tanh.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks
from model_specs.rnn import RNNConfig, RNNLoss, RNNState
from numpy_ref.nn import checks, functional, init
from numpy_ref.nn.module import Array, Vjp
from numpy_ref.probability.distributions import squared_error
from numpy_ref.recurrent.masks import draw_masks
from numpy_ref.recurrent.network import Output, Recurrent, SequenceModel, SoftmaxOutput


def rnn_cell(a: Array, out: Array | None = None) -> tuple[Array, Vjp]:
    """h = tanh(a).   a (B, H) -> h (B, H), written to `out` if it is an array

    The vjp takes dh and returns da, written to its `out` if it is an array.

    >>> h, vjp = rnn_cell(np.array([[0.0, 1.0]]))
    >>> h, vjp(np.ones((1, 2)))
    (array([[0.        , 0.76159416]]), array([[1.        , 0.41997434]]))
    """
    h = np.tanh(a, out=out)

    def vjp(dh: Array, out: Array | None = None) -> Array:
        return np.multiply(dh, 1 - h * h, out=out)

    return h, vjp


class TanhLayers(Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1})), as torch.nn.RNN."""

    gates = 1

    def _cell(self, a: Array, *rest: Array, out: Array) -> tuple[tuple[Array, ...], Vjp]:
        _, h_vjp = rnn_cell(a, out)
        return (), lambda dh, out: (h_vjp(dh, out),)


class SquaredErrorOutput(Output):
    """error = sum_o (W h + b - y)_o^2.   h (T, B, H), y (T, B, O) -> error (T, B)"""

    def forward(self, h: Array, y: Array) -> tuple[Array, Vjp]:
        outputs, outputs_vjp = functional.linear(h, self.weight.data, self.bias.data)
        error, error_vjp = squared_error(outputs, y)

        def vjp(derror: Array) -> Array:
            dh, dW, db = outputs_vjp(error_vjp(derror))
            self.weight.grad += dW
            self.bias.grad += db
            return dh

        return error, vjp

    def check_targets(self, y: Array, shape: tuple[int, int]) -> None:
        """Raise ValueError unless y is (*shape, O), finite and of the layer's dtype."""
        checks.check_noise("y", y, (*shape, len(self.bias.data)), self.dtype)


OUTPUTS: dict[str, type[Output]] = {
    "cross_entropy": SoftmaxOutput,
    "squared_error": SquaredErrorOutput,
}


class RNN(SequenceModel):
    """x -> D -> layers of tanh units -> D -> outputs, with the scheme's masks for D.

        loss = sum_t error_t, averaged over the sequences

    Units: nats for cross-entropy; RNNLoss names the sums and averages.
    """

    state_type, loss_type = RNNState, RNNLoss

    def __init__(
        self,
        config: RNNConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.config = config
        self.rnn = TanhLayers(config.input_dim, config, dtype, input_grad=False)
        self.decoder = OUTPUTS[config.likelihood](config.hidden_dim, config.output_dim, dtype)
        init.normal(self, key, config.weight_std)
        for layer in range(config.num_layers):
            weight_hh = self.rnn.weights(layer)[1].data
            weight_hh += config.recurrent_gain * np.eye(config.hidden_dim)

    def draw_noise(
        self, key: Key, batch_size: int, *, length: int | None = None, first: int = 0
    ) -> Masks:
        """Draw the masks of the scheme for `length` steps (None: config.seq_len).

        In evaluation mode no masks are drawn. `first` is the index of the first sequence: see
        `draw_masks`.
        """
        return draw_masks(self.rnn, key, batch_size, length, first)

    def features(self, x: Array, state: RNNState, noise: Masks) -> tuple[Any, Vjp]:
        """The inputs of the output layer.   x (T, B, I) -> (T, B, H), and the last state"""
        return self.rnn(x, state, noise)

    def _check_inputs(self, x: Array, state: RNNState, noise: Masks) -> None:
        checks.check_noise("x", x, (None, None, self.rnn.input_dim), self.dtype)
        T, B, I = x.shape  # noqa: E741
        checks.check_window(self, T, B, state, noise, I)
