"""The LSTM language model, vectorised.   Left panel: numpy_ref/lstm.py

Source: Zaremba, Sutskever & Vinyals (2014), arXiv 1409.2329; see model_specs.lstm for every choice.
Shapes: T steps, B texts, V words, E = embedding_dim, H units, L layers.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from model_specs.common.key import Key
from model_specs.lstm import LSTMConfig, LSTMLoss, LSTMState
from model_specs.recurrent.dropout import Masks
from torch_impl.nn import checks, init, random
from torch_impl.nn.layers import Embedding
from torch_impl.nn.module import as_device, as_dtype
from torch_impl.recurrent.fused import LSTM_KERNEL
from torch_impl.recurrent.masks import draw_masks
from torch_impl.recurrent.network import Dropout, Recurrent, SequenceModel, SoftmaxOutput


def lstm_cell(a: Tensor, c_prev: Tensor) -> tuple[Tensor, Tensor]:
    """c = sigmoid(f) c_prev + sigmoid(i) tanh(g);   h = sigmoid(o) tanh(c),   [i, f, g, o] = a

    Shapes: a (B, 4 H), c_prev (B, H) -> h, c (B, H).
    Source: Zaremba et al. (2014), section 3.1, without peepholes; gates in torch's order.
    """
    i, f, g, o = a.chunk(4, dim=-1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c_prev + i * g
    h = o * torch.tanh(c)
    return h, c


class LSTMLayers(Recurrent):
    """[i, f, g, o] = W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1}),  as torch.nn.LSTM

        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);   h_t = sigmoid(o) tanh(c_t)

    Source: Zaremba et al. (2014), section 3.1, without peepholes.
    """

    gates = 4
    fused_kernel = LSTM_KERNEL

    def _cell(self, a: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        (c_prev,) = rest
        h, c = lstm_cell(a, c_prev)
        return h, c


class LSTM(SequenceModel):
    """tokens -> embedding -> D -> LSTM layers -> D -> softmax, with the scheme's masks for D.

        loss = sum_t -log p(token_{t+1} | tokens up to t), averaged over the B texts

    `kernel` is "fused" (torch's own) or "loop"; their results agree to rounding.
    Units: nats; LSTMLoss names the sums and averages.
    """

    config: LSTMConfig
    state_type, loss_type = LSTMState, LSTMLoss

    def __init__(
        self,
        config: LSTMConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
        kernel: str = "fused",
    ) -> None:
        super().__init__()
        self.config = config
        dtype, device = as_dtype(dtype), as_device(device)
        self.embedding = Embedding(config.vocab_size, config.embedding_dim, dtype, device)
        self.word_dropout = Dropout(config.word_rate)
        self.lstm = LSTMLayers(config.embedding_dim, config, dtype, device, kernel)
        self.decoder = SoftmaxOutput(config.hidden_dim, config.vocab_size, dtype, device)
        if config.tied:
            self.decoder.weight = cast(nn.Parameter, self.embedding.weight)
        init.uniform(self, key, config.init_scale)
        with torch.no_grad():
            for layer in range(config.num_layers):
                bias_ih = self.lstm.weights(layer)[2]
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
        words = random.dropout_mask(stream, (batch_size, V), rate, first * V, self.device)
        return masks._replace(words=words)

    def features(self, x: Tensor, state: LSTMState, noise: Masks) -> tuple[Tensor, LSTMState]:
        """The inputs of the output layer.   x (T, B) -> (T, B, H), and the last state"""
        x = checks.safe_tokens(x, self.config.vocab_size)
        e = self.embedding(x)
        examples = torch.arange(x.shape[1], device=x.device)
        words = None if noise.words is None else noise.words[examples, x][..., None]
        d = self.word_dropout(e, words)
        return self.lstm(d, state, noise)

    def _check_inputs(self, x: Tensor, state: LSTMState, noise: Masks) -> None:
        V = self.config.vocab_size
        checks.check_tokens("x", x, (None, None), V, self)
        T, B = x.shape
        checks.check_window(self, T, B, state, noise, self.lstm.input_dim, V)
