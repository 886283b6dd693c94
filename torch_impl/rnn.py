"""The teaching RNN, vectorised.   Left panel: numpy_ref/rnn.py

Source: Zaremba, Sutskever & Vinyals (2014), section 3; see model_specs.rnn for every choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks
from model_specs.rnn import RNNBatch, RNNConfig, RNNLoss, RNNState
from torch_impl.nn import checks, init
from torch_impl.nn.module import Module, as_device, as_dtype
from torch_impl.recurrent.outputs import OUTPUTS, weighted_loss
from torch_impl.recurrent.stack import Recurrent


class TanhLayers(Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1})), as torch.nn.RNN."""

    gates = 1
    kernel = staticmethod(torch.rnn_tanh)

    def layer(self, x: Tensor, h0: Tensor, m: Tensor | None, layer: int) -> tuple[Tensor, Tensor]:
        """x (T, B, I), h0 (B, H), m (T or 1, B, H) or None -> (h (T, B, H), h_T (B, H))"""
        if self.fuses(m):
            h, h_T = self.fused(x, h0[None].contiguous(), layer)
            return h, h_T[0]
        _, weight_hh, _, _ = self.weights(layer)
        a = self._project(x, layer)
        m = None if m is None else m.expand(len(a), *h0.shape)
        h = h0
        hs = []
        for t in range(len(a)):
            h = torch.tanh(a[t] + (h if m is None else h * m[t]) @ weight_hh.T)
            hs.append(h)
        return torch.stack(hs), h


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
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        dtype, device = as_dtype(dtype), as_device(device)
        self.rnn = TanhLayers(config.input_dim, config, dtype, device)
        output = OUTPUTS[config.likelihood]
        self.decoder = output(config.hidden_dim, config.output_dim, dtype, device)
        init.normal(self, key, config.weight_std)
        with torch.no_grad():
            for layer in range(config.num_layers):
                weight_hh = self.rnn.weights(layer)[1]
                weight_hh += config.recurrent_gain * torch.eye(
                    config.hidden_dim, dtype=dtype, device=device
                )

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.decoder.weight.device

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
        return RNNState(torch.zeros(shape, dtype=self.dtype, device=self.device))

    def loss(self, batch: RNNBatch, noise: Masks) -> RNNLoss:
        """Loss terms; `loss.total.backward()` does the rest.

        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        self._check(batch, noise)
        y, state = self.rnn(batch.x, batch.state, noise)
        error = self.decoder(y, batch.y)  # (T, B)
        total, mean = weighted_loss(error, batch.weight)
        return RNNLoss(total, mean, RNNState(state.h.detach()))

    @torch.no_grad()
    def predict(
        self,
        x: Tensor,
        state: RNNState,
        noise: Masks = Masks(),  # noqa: B008  (immutable)
    ) -> tuple[Tensor, RNNState]:
        """Outputs after every step, and the state; value only.   x (T, B, I) -> (T, B, O)"""
        self._check_inputs(x, state, noise)
        y, last = self.rnn(x, state, noise)
        return self.decoder.outputs(y), last

    @torch.no_grad()
    def token_nll(self, batch: RNNBatch, noise: Masks) -> tuple[Tensor, RNNState]:
        """The error of every step and sequence, unweighted, and the state; value only.   (T, B)"""
        self._check(batch, noise)
        y, state = self.rnn(batch.x, batch.state, noise)
        return self.decoder(y, batch.y), state

    def _check(self, batch: RNNBatch, noise: Masks) -> None:
        self._check_inputs(batch.x, batch.state, noise)
        T, B, _ = batch.x.shape
        self.decoder.check_targets(batch.y, (T, B))
        checks.check_weight(batch.weight, T, B, self)

    def _check_inputs(self, x: Tensor, state: RNNState, noise: Masks) -> None:
        checks.check_noise("x", x, (None, None, self.config.input_dim), self)
        T, B, _ = x.shape
        checks.check_window(self, T, B, state, noise, self.config.input_dim)
