"""The LSTM language model, by hand.   Right panel: torch_impl/lstm.py

Source: Zaremba, Sutskever & Vinyals (2014), arXiv 1409.2329; see model_specs.lstm for every choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.key import Key
from model_specs.lstm import LSTMBatch, LSTMConfig, LSTMLoss, LSTMState
from model_specs.recurrent.dropout import Masks
from numpy_ref.nn import checks, init, random
from numpy_ref.nn.layers import Embedding
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.recurrent.outputs import SoftmaxOutput, weighted_loss
from numpy_ref.recurrent.stack import Dropout, Recurrent


class LSTMLayers(Recurrent):
    """[i, f, g, o] = W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1}),  as torch.nn.LSTM

        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);   h_t = sigmoid(o) tanh(c_t)

    Source: Zaremba et al. (2014), section 3.1, without peepholes.
    """

    gates = 4

    def layer(self, x: Array, h0: Array, c0: Array, m: Array | None, layer: int) -> tuple[Any, Vjp]:
        """x (T, B, I), h0 and c0 (B, H), m (T or 1, B, H) or None -> h (T, B, H), h_T, c_T"""
        _, weight_hh, _, _ = self.weights(layer)
        a, a_vjp = self._project(x, layer)
        (T, _, _), (B, H) = a.shape, h0.shape
        m = None if m is None else np.broadcast_to(m, (T, B, H))

        # sigmoid(a) = 1/2 + tanh(a/2) / 2: one tanh for all four gates, and it cannot overflow
        half = np.repeat(np.array([0.5, 0.5, 1, 0.5], a.dtype), H)
        rest = 1 - half
        W = np.multiply(weight_hh.data.T, half, order="C")
        a *= half
        h, c = np.empty((T + 1, B, H), a.dtype), np.empty((T + 1, B, H), a.dtype)
        tanh_c = np.empty((T, B, H), a.dtype)
        h[0], c[0] = h0, c0
        for t in range(T):
            s = a[t]
            s += (h[t] if m is None else h[t] * m[t]) @ W
            np.tanh(s, out=s)
            s *= half
            s += rest
            i, f, g, o = _gates(s)
            np.multiply(f, c[t], out=c[t + 1])
            c[t + 1] += i * g
            np.tanh(c[t + 1], out=tanh_c[t])
            np.multiply(o, tanh_c[t], out=h[t + 1])

        def vjp(dy: Array, dh_last: Array | None, dc_last: Array | None) -> tuple[Array, ...]:
            da = np.empty_like(a)
            dh = np.zeros_like(h0) if dh_last is None else dh_last
            dc = np.zeros_like(c0) if dc_last is None else dc_last
            for t in reversed(range(T)):
                i, f, g, o = _gates(a[t])
                di, df, dg, do = _gates(da[t])
                dh = dh + dy[t]
                np.multiply(dh * tanh_c[t], o * (1 - o), out=do)
                dc = dc + dh * o * (1 - tanh_c[t] * tanh_c[t])
                np.multiply(dc * g, i * (1 - i), out=di)
                np.multiply(dc * c[t], f * (1 - f), out=df)
                np.multiply(dc * i, 1 - g * g, out=dg)
                dc = dc * f
                dh = da[t] @ weight_hh.data
                if m is not None:
                    dh *= m[t]
            rows = (h[:-1] if m is None else h[:-1] * m).reshape(-1, H)
            weight_hh.add_product(da.reshape(len(rows), -1).T, rows)
            return a_vjp(da), dh, dc

        return (h[1:], h[-1], c[-1]), vjp


def _gates(a: Array) -> tuple[Array, ...]:
    """Views i, f, g, o of (..., 4 H)."""
    H = a.shape[-1] // 4
    return tuple(a[..., k * H : (k + 1) * H] for k in range(4))


class LSTM(Module):
    """tokens -> embedding -> D -> LSTM layers -> D -> softmax, with the scheme's masks for D.

        loss = sum_t -log p(token_{t+1} | tokens up to t), averaged over the B texts

    Shapes: T steps, B texts, V words, E = embedding_dim, H units, L layers.
    Units: nats; see LSTMLoss for what is summed and what is averaged.
    """

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

    @property
    def dtype(self) -> np.dtype:
        return self.decoder.weight.data.dtype

    def draw_noise(
        self, key: Key, batch_size: int, *, length: int | None = None, first: int = 0
    ) -> Masks:
        """The scheme's masks for `length` steps (config.seq_len); none in evaluation.

        `first` is the number of the first text: see `dropout.draw_masks`.
        """
        masks, c = self.lstm.draw_masks(key, batch_size, length, first), self.config
        if not (c.word_rate and self.training):
            return masks
        shape = (batch_size, c.vocab_size)
        stream = key.fold_in("words")
        words = random.dropout_mask(stream, shape, c.word_rate, first * c.vocab_size)
        return masks._replace(words=words)

    def zero_state(self, batch_size: int) -> LSTMState:
        """The state before the first window: h = c = 0 (L, B, H)."""
        shape = (self.config.num_layers, batch_size, self.config.hidden_dim)
        return LSTMState(np.zeros(shape, self.dtype), np.zeros(shape, self.dtype))

    def features(self, x: Array, state: LSTMState, noise: Masks) -> tuple[Any, Vjp]:
        """What the softmax layer reads.   x (T, B) -> (T, B, H), and the state after it"""
        e, e_vjp = self.embedding(x)
        words = None if noise.words is None else noise.words[np.arange(x.shape[1]), x][..., None]
        d, d_vjp = self.word_dropout(e, words)
        (y, last), y_vjp = self.lstm(d, state, noise)

        def vjp(dy: Array, *dlast: Array | None) -> tuple[None, Array, Array]:
            dd, dh, dc = y_vjp(dy, *dlast)
            e_vjp(d_vjp(dd))
            return None, dh, dc

        return (y, last), vjp

    def loss(self, batch: LSTMBatch, noise: Masks) -> tuple[LSTMLoss, Callable[[], None]]:
        """Loss terms, and `backward`, which adds d total / d parameter to every `.grad`.

        Backpropagation through time is truncated: no gradient leaves the window by its state.
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        self._check(batch, noise)
        (y, state), y_vjp = self.features(batch.x, batch.state, noise)
        nll, nll_vjp = self.decoder(y, batch.y)  # (T, B)
        total, mean, dnll = weighted_loss(nll, batch.weight)

        def backward() -> None:
            y_vjp(nll_vjp(dnll), None, None)

        return LSTMLoss(total, mean, state), backward

    def predict(
        self,
        x: Array,
        state: LSTMState,
        noise: Masks = Masks(),  # noqa: B008  (immutable)
    ) -> tuple[Array, LSTMState]:
        """Logits of the next token after every step, and the state; value only.   -> (T, B, V)"""
        self._check_inputs(x, state, noise)
        (y, last), _ = self.features(x, state, noise)
        return self.decoder.outputs(y), last

    def token_nll(self, batch: LSTMBatch, noise: Masks) -> tuple[Array, LSTMState]:
        """-log p of every token, unweighted, nats, and the state; value only.   -> (T, B)"""
        self._check(batch, noise)
        (y, state), _ = self.features(batch.x, batch.state, noise)
        return self.decoder(y, batch.y)[0], state

    def _check(self, batch: LSTMBatch, noise: Masks) -> None:
        self._check_inputs(batch.x, batch.state, noise)
        T, B = batch.x.shape
        self.decoder.check_targets(batch.y, (T, B))
        checks.check_weight(batch.weight, T, B, self)

    def _check_inputs(self, x: Array, state: LSTMState, noise: Masks) -> None:
        c = self.config
        checks.check_tokens("x", x, (None, None), c.vocab_size)
        T, B = x.shape
        checks.check_window(self, T, B, state, noise, c.embedding_dim, c.vocab_size)
