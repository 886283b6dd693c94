"""The LSTM language model, vectorised.   Left panel: numpy_ref/lstm.py

Source: Zaremba, Sutskever & Vinyals (2014), arXiv 1409.2329; see model_specs.lstm for every choice.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from model_specs.common.key import Key
from model_specs.lstm import LSTMBatch, LSTMConfig, LSTMLoss, LSTMState
from model_specs.recurrent.dropout import Masks
from torch_impl.nn import checks, init, random
from torch_impl.nn.layers import Embedding
from torch_impl.nn.module import Module, as_device, as_dtype
from torch_impl.recurrent.outputs import SoftmaxOutput, weighted_loss
from torch_impl.recurrent.stack import Dropout, Recurrent


class LSTMLayers(Recurrent):
    """[i, f, g, o] = W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1}),  as torch.nn.LSTM

        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);   h_t = sigmoid(o) tanh(c_t)

    Source: Zaremba et al. (2014), section 3.1, without peepholes.
    """

    gates = 4
    kernel = staticmethod(torch.lstm)

    def layer(
        self, x: Tensor, h0: Tensor, c0: Tensor, m: Tensor | None, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (T, B, I), h0 and c0 (B, H), m (T or 1, B, H) or None -> h (T, B, H), h_T, c_T"""
        if self.fuses(m):
            h, h_T, c_T = self.fused(x, (h0[None].contiguous(), c0[None].contiguous()), layer)
            return h, h_T[0], c_T[0]
        _, weight_hh, _, _ = self.weights(layer)
        a = self._project(x, layer)
        m = None if m is None else m.expand(len(a), *h0.shape)
        h, c = h0, c0
        hs = []
        for t in range(len(a)):
            s = a[t] + (h if m is None else h * m[t]) @ weight_hh.T
            i, f, g, o = s.chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            hs.append(h)
        return torch.stack(hs), h, c


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
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        dtype, device = as_dtype(dtype), as_device(device)
        self.embedding = Embedding(config.vocab_size, config.embedding_dim, dtype, device)
        self.word_dropout = Dropout(config.word_rate)
        self.lstm = LSTMLayers(config.embedding_dim, config, dtype, device)
        self.decoder = SoftmaxOutput(config.hidden_dim, config.vocab_size, dtype, device)
        if config.tied:
            self.decoder.weight = cast(nn.Parameter, self.embedding.weight)
        init.uniform(self, key, config.init_scale)
        with torch.no_grad():
            for layer in range(config.num_layers):
                bias_ih = self.lstm.weights(layer)[2]
                bias_ih[config.hidden_dim : 2 * config.hidden_dim] += config.forget_bias

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

        `first` is the number of the first text: see `dropout.draw_masks`.
        """
        masks, c = self.lstm.draw_masks(key, batch_size, length, first), self.config
        if not (c.word_rate and self.training):
            return masks
        shape, start = (batch_size, c.vocab_size), first * c.vocab_size
        stream = key.fold_in("words")
        words = random.dropout_mask(stream, shape, c.word_rate, start, self.device)
        return masks._replace(words=words)

    def zero_state(self, batch_size: int) -> LSTMState:
        """The state before the first window: h = c = 0 (L, B, H)."""
        shape = (self.config.num_layers, batch_size, self.config.hidden_dim)
        zeros = torch.zeros(shape, dtype=self.dtype, device=self.device)
        return LSTMState(zeros, zeros.clone())

    def features(self, x: Tensor, state: LSTMState, noise: Masks) -> tuple[Tensor, LSTMState]:
        """What the softmax layer reads.   x (T, B) -> (T, B, H), and the state after it"""
        e = self.embedding(x)
        examples = torch.arange(x.shape[1], device=x.device)
        words = None if noise.words is None else noise.words[examples, x][..., None]
        d = self.word_dropout(e, words)
        return self.lstm(d, state, noise)

    def loss(self, batch: LSTMBatch, noise: Masks) -> LSTMLoss:
        """Loss terms; `loss.total.backward()` does the rest.

        Backpropagation through time is truncated: no gradient leaves the window by its state.
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        self._check(batch, noise)
        y, state = self.features(batch.x, batch.state, noise)
        nll = self.decoder(y, batch.y)  # (T, B)
        total, mean = weighted_loss(nll, batch.weight)
        return LSTMLoss(total, mean, LSTMState(state.h.detach(), state.c.detach()))

    @torch.no_grad()
    def predict(
        self,
        x: Tensor,
        state: LSTMState,
        noise: Masks = Masks(),  # noqa: B008  (immutable)
    ) -> tuple[Tensor, LSTMState]:
        """Logits of the next token after every step, and the state; value only.   -> (T, B, V)"""
        self._check_inputs(x, state, noise)
        y, last = self.features(x, state, noise)
        return self.decoder.outputs(y), last

    @torch.no_grad()
    def token_nll(self, batch: LSTMBatch, noise: Masks) -> tuple[Tensor, LSTMState]:
        """-log p of every token, unweighted, nats, and the state; value only.   -> (T, B)"""
        self._check(batch, noise)
        y, state = self.features(batch.x, batch.state, noise)
        return self.decoder(y, batch.y), state

    def _check(self, batch: LSTMBatch, noise: Masks) -> None:
        self._check_inputs(batch.x, batch.state, noise)
        T, B = batch.x.shape
        self.decoder.check_targets(batch.y, (T, B))
        checks.check_weight(batch.weight, T, B, self)

    def _check_inputs(self, x: Tensor, state: LSTMState, noise: Masks) -> None:
        c = self.config
        checks.check_tokens("x", x, (None, None), c.vocab_size, self)
        T, B = x.shape
        checks.check_window(self, T, B, state, noise, c.embedding_dim, c.vocab_size)
