"""The LSTM language model, by hand.   Right panel: torch_impl/lstm.py

Source: Zaremba, Sutskever & Vinyals (2014), arXiv 1409.2329; see model_specs.lstm for every choice.
Shapes: T steps, B texts, V words, E = embedding_dim, H units, L layers.

Derivation: backpropagation through time (BPTT). One step of a layer, without masks and biases, is

    a_t = W_ih x_t + W_hh h_{t-1}               (the pre-activations of four gates)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

h_t has two readers: the layer above at step t, and this layer at step t + 1. c_t has two as well:
h_t and c_{t+1}. With dh for the gradient of the loss with respect to h, and so on, the gradients of
both add up, from the last step to the first:

    dh_t = dy_t + W_hhᵀ da_{t+1}                (da_{T+1} = 0: the window ends there)
    dc_t = dh_t o (1 - tanh^2 c_t) + f_{t+1} dc_{t+1}

The gates follow by the product rule, and their pre-activations by sigmoid' = s (1 - s) and
tanh' = 1 - tanh^2:

    do = dh_t tanh(c_t);   di = dc_t g;   df = dc_t c_{t-1};   dg = dc_t i
    da_t = [di i (1 - i),  df f (1 - f),  dg (1 - g^2),  do o (1 - o)]

Weights are the same at every step, so their gradients are sums over steps:

    dx_t = W_ihᵀ da_t;   dW_ih = sum_t da_t x_tᵀ;   dW_hh = sum_t da_t h_{t-1}ᵀ;   db = sum_t da_t

Between dc_{t+1} and dc_t stands the factor f alone, no weight matrix: where f is near 1 the
gradient neither vanishes nor explodes. `lstm_cell` is one step; `Recurrent.layer` is the loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.key import Key
from model_specs.lstm import LSTMConfig, LSTMLoss, LSTMState
from model_specs.recurrent.dropout import Masks
from numpy_ref.nn import checks, init, random
from numpy_ref.nn.layers import Embedding
from numpy_ref.nn.module import Array, Vjp
from numpy_ref.recurrent.masks import draw_masks
from numpy_ref.recurrent.network import Dropout, Recurrent, SequenceModel, SoftmaxOutput


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2; value only. It cannot overflow. Any shape.

    It takes half the time of functional.sigmoid. A gate needs 16 decimals, not, as a probability
    does before its logarithm, 16 digits.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def lstm_cell(a: Array, c_prev: Array, out: Array | None = None) -> tuple[tuple[Array, Array], Vjp]:
    """c = sigmoid(f) c_prev + sigmoid(i) tanh(g);   h = sigmoid(o) tanh(c),   [i, f, g, o] = a

    Shapes: a (B, 4 H), c_prev (B, H) -> h, c (B, H). The vjp takes (dh, dc) and returns
    (da, dc_prev). h is written to `out`, and da to the vjp's `out`, if it is an array.
    Source: Zaremba et al. (2014), section 3.1, without peepholes; gates in torch's order.

    >>> (h, c), vjp = lstm_cell(np.array([[0.0, 100.0, 0.0, 100.0]]), np.array([[1.0]]))
    >>> h, c  # the forget gate is open: c is c_prev
    (array([[0.76159416]]), array([[1.]]))
    >>> da, dc_prev = vjp(np.array([[0.0]]), np.array([[1.0]]))
    >>> da, dc_prev
    (array([[0. , 0. , 0.5, 0. ]]), array([[1.]]))
    """
    i, f, g, o = a.reshape(len(a), 4, -1).swapaxes(0, 1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c_prev + i * g
    tanh_c = np.tanh(c)
    h = np.multiply(o, tanh_c, out=out)

    def vjp(dh: Array, dc: Array, out: Array | None = None) -> tuple[Array, Array]:
        B, H = dh.shape
        da = np.empty((B, 4 * H), dh.dtype) if out is None else out
        da_i, da_f, da_g, da_o = da.reshape(B, 4, H).swapaxes(0, 1)
        do = dh * tanh_c
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        di, df, dg, dc_prev = dc * g, dc * c_prev, dc * i, dc * f
        np.multiply(di, i * (1 - i), out=da_i)
        np.multiply(df, f * (1 - f), out=da_f)
        np.multiply(dg, 1 - g * g, out=da_g)
        np.multiply(do, o * (1 - o), out=da_o)
        return da, dc_prev

    return (h, c), vjp


class LSTMLayers(Recurrent):
    """[i, f, g, o] = W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1}),  as torch.nn.LSTM

        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);   h_t = sigmoid(o) tanh(c_t)

    Source: Zaremba et al. (2014), section 3.1, without peepholes.
    """

    gates = 4

    def _cell(self, a: Array, *rest: Array, out: Array) -> tuple[tuple[Array, ...], Vjp]:
        (c_prev,) = rest
        (_, c), vjp = lstm_cell(a, c_prev, out)
        return (c,), vjp


class LSTM(SequenceModel):
    """tokens -> embedding -> D -> LSTM layers -> D -> softmax, with the scheme's masks for D.

        loss = sum_t -log p(token_{t+1} | tokens up to t), averaged over the B texts

    Units: nats; LSTMLoss names the sums and averages.
    """

    config: LSTMConfig
    state_type, loss_type = LSTMState, LSTMLoss

    def __init__(
        self,
        config: LSTMConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.embedding_dim, dtype)
        self.word_dropout = Dropout(config.word_rate)
        self.lstm = LSTMLayers(config.embedding_dim, config, dtype)
        self.decoder = SoftmaxOutput(config.hidden_dim, config.vocab_size, dtype)
        if config.tied:
            self.decoder.weight = self.embedding.weight
        init.uniform(self, key, config.init_scale)
        for layer in range(config.num_layers):
            bias_ih = self.lstm.weights(layer)[2].data
            bias_ih[config.hidden_dim : 2 * config.hidden_dim] += config.forget_bias

    def draw_noise(
        self, key: Key, batch_size: int, *, length: int | None = None, first: int = 0
    ) -> Masks:
        """Draw the masks of the scheme and of the words for `length` steps (None: config.seq_len).

        In evaluation mode no masks are drawn. `first` is the index of the first text: see
        `draw_masks`.
        """
        masks = draw_masks(self.lstm, key, batch_size, length, first)
        rate, V = self.config.word_rate, self.config.vocab_size
        if not (rate and self.training):
            return masks
        stream = key.fold_in("words")
        words = random.dropout_mask(stream, (batch_size, V), rate, first * V)
        return masks._replace(words=words)

    def features(self, x: Array, state: LSTMState, noise: Masks) -> tuple[Any, Vjp]:
        """The inputs of the output layer.   x (T, B) -> (T, B, H), and the last state"""
        e, e_vjp = self.embedding(x)
        words = None if noise.words is None else noise.words[np.arange(x.shape[1]), x][..., None]
        d, d_vjp = self.word_dropout(e, words)
        (y, last), y_vjp = self.lstm(d, state, noise)

        def vjp(dy: Array, *dlast: Array | None) -> tuple[None, Array, Array]:
            dd, dh, dc = y_vjp(dy, *dlast)
            e_vjp(d_vjp(dd))
            return None, dh, dc

        return (y, last), vjp

    def _check_inputs(self, x: Array, state: LSTMState, noise: Masks) -> None:
        V = self.config.vocab_size
        checks.check_tokens("x", x, (None, None), V)
        T, B = x.shape
        checks.check_window(self, T, B, state, noise, self.lstm.input_dim, V)
