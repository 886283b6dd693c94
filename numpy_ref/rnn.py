"""The teaching RNN, by hand.   Right panel: torch_impl/rnn.py

Source: Zaremba, Sutskever & Vinyals (2014), section 3; see model_specs.rnn for every choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks
from model_specs.rnn import RNNBatch, RNNConfig, RNNLoss, RNNState
from numpy_ref.nn import checks, init
from numpy_ref.nn.module import Array, Module, Vjp
from numpy_ref.recurrent.outputs import OUTPUTS, weighted_loss
from numpy_ref.recurrent.stack import Recurrent


class TanhLayers(Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1})), as torch.nn.RNN."""

    gates = 1

    def layer(self, x: Array, h0: Array, m: Array | None, layer: int) -> tuple[Any, Vjp]:
        """x (T, B, I), h0 (B, H), m (T or 1, B, H) or None -> (h (T, B, H), h_T (B, H))"""
        _, weight_hh, _, _ = self.weights(layer)
        a, a_vjp = self._project(x, layer)
        T, W = len(a), np.ascontiguousarray(weight_hh.data.T)
        m = None if m is None else np.broadcast_to(m, a.shape)
        h = np.empty((T + 1, *h0.shape), a.dtype)
        h[0] = h0
        for t in range(T):
            a[t] += (h[t] if m is None else h[t] * m[t]) @ W
            np.tanh(a[t], out=h[t + 1])

        def vjp(dy: Array, dlast: Array | None) -> tuple[Array, Array]:
            da = 1 - h[1:] * h[1:]  # tanh', of all steps at once
            dh = np.zeros_like(h0) if dlast is None else dlast
            for t in reversed(range(T)):
                da[t] *= dy[t] + dh
                dh = da[t] @ weight_hh.data
                if m is not None:
                    dh *= m[t]
            rows = (h[:-1] if m is None else h[:-1] * m).reshape(-1, h.shape[-1])
            weight_hh.add_product(da.reshape(len(rows), -1).T, rows)
            return a_vjp(da), dh

        return (h[1:], h[-1]), vjp


class RNN(Module):
    """x -> D -> tanh layers -> D -> outputs, with the scheme's masks for D.

        loss = sum_t error_t, averaged over the sequences

    Shapes: T steps, B sequences, I inputs, H units, L layers, O outputs.
    Units: nats for cross-entropy; see RNNLoss for what is summed and what is averaged.
    """

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

    @property
    def dtype(self) -> np.dtype:
        return self.decoder.weight.data.dtype

    def draw_noise(
        self, key: Key, batch_size: int, *, length: int | None = None, first: int = 0
    ) -> Masks:
        """The scheme's masks for `length` steps (config.seq_len); none in evaluation.

        `first` is the number of the first sequence: see `dropout.draw_masks`.
        """
        return self.rnn.draw_masks(key, batch_size, length, first)

    def zero_state(self, batch_size: int) -> RNNState:
        """The state before the first window: h = 0 (L, B, H)."""
        shape = (self.config.num_layers, batch_size, self.config.hidden_dim)
        return RNNState(np.zeros(shape, self.dtype))

    def loss(self, batch: RNNBatch, noise: Masks) -> tuple[RNNLoss, Callable[[], None]]:
        """Loss terms, and `backward`, which adds d total / d parameter to every `.grad`.

        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        self._check(batch, noise)
        (y, state), body_vjp = self.rnn(batch.x, batch.state, noise)
        error, error_vjp = self.decoder(y, batch.y)  # (T, B)
        total, mean, derror = weighted_loss(error, batch.weight)

        def backward() -> None:
            body_vjp(error_vjp(derror), None)

        return RNNLoss(total, mean, state), backward

    def predict(self, x: Array, state: RNNState, noise: Masks = Masks()) -> tuple[Array, RNNState]:  # noqa: B008
        """Outputs after every step, and the state; value only.   x (T, B, I) -> (T, B, O)"""
        self._check_inputs(x, state, noise)
        (y, last), _ = self.rnn(x, state, noise)
        return self.decoder.outputs(y), last

    def token_nll(self, batch: RNNBatch, noise: Masks) -> tuple[Array, RNNState]:
        """The error of every step and sequence, unweighted, and the state; value only.   (T, B)"""
        self._check(batch, noise)
        (y, state), _ = self.rnn(batch.x, batch.state, noise)
        return self.decoder(y, batch.y)[0], state

    def _check(self, batch: RNNBatch, noise: Masks) -> None:
        self._check_inputs(batch.x, batch.state, noise)
        T, B, _ = batch.x.shape
        self.decoder.check_targets(batch.y, (T, B))
        checks.check_weight(batch.weight, T, B, self)

    def _check_inputs(self, x: Array, state: RNNState, noise: Masks) -> None:
        checks.check_noise("x", x, (None, None, self.config.input_dim), self.dtype)
        T, B, _ = x.shape
        checks.check_window(self, T, B, state, noise, self.config.input_dim)
