"""The teaching RNN, vectorised.   Left panel: numpy_ref/rnn.py

Source: Zaremba, Sutskever & Vinyals (2014), arXiv 1409.2329; see model_specs.rnn for every choice.
Shapes: T steps, B sequences, I inputs, H units, L layers, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks
from model_specs.rnn import RNNConfig, RNNLoss, RNNState
from torch_impl.nn import checks, init
from torch_impl.nn.module import as_device, as_dtype
from torch_impl.probability.distributions import squared_error
from torch_impl.recurrent.fused import RNN_KERNEL
from torch_impl.recurrent.masks import draw_masks
from torch_impl.recurrent.network import Output, Recurrent, SequenceModel, SoftmaxOutput


def rnn_cell(a: Tensor) -> Tensor:
    """h = tanh(a).   a (B, H) -> h (B, H)"""
    return torch.tanh(a)


class TanhLayers(Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1})), as torch.nn.RNN."""

    gates = 1
    fused_kernel = RNN_KERNEL

    def _cell(self, a: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        return (rnn_cell(a),)


class SquaredErrorOutput(Output):
    """error = sum_o (W h + b - y)_o^2.   h (T, B, H), y (T, B, O) -> error (T, B)"""

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        return squared_error(F.linear(h, self.weight, self.bias), y)

    def check_targets(self, y: Tensor, shape: tuple[int, int]) -> None:
        """Raise ValueError unless y is (*shape, O), finite and of the layer's dtype."""
        checks.check_noise("y", y, (*shape, len(self.bias)), self)


OUTPUTS: dict[str, type[Output]] = {
    "cross_entropy": SoftmaxOutput,
    "squared_error": SquaredErrorOutput,
}


class RNN(SequenceModel):
    """x -> D -> layers of tanh units -> D -> outputs, with the scheme's masks for D.

        loss = sum_t error_t, averaged over the sequences

    `kernel` is "fused" (torch's own) or "loop"; their results agree to rounding.
    Units: nats for cross-entropy; RNNLoss names the sums and averages.
    """

    state_type, loss_type = RNNState, RNNLoss

    def __init__(
        self,
        config: RNNConfig,
        key: Key = Key(0),  # noqa: B008  (immutable)
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
        kernel: str = "fused",
    ) -> None:
        super().__init__()
        self.config = config
        dtype, device = as_dtype(dtype), as_device(device)
        self.rnn = TanhLayers(config.input_dim, config, dtype, device, kernel)
        output = OUTPUTS[config.likelihood]
        self.decoder = output(config.hidden_dim, config.output_dim, dtype, device)
        init.normal(self, key, config.weight_std)
        with torch.no_grad():
            for layer in range(config.num_layers):
                weight_hh = self.rnn.weights(layer)[1]
                weight_hh += config.recurrent_gain * torch.eye(
                    config.hidden_dim, dtype=dtype, device=device
                )

    def draw_noise(
        self, key: Key, batch_size: int, *, length: int | None = None, first: int = 0
    ) -> Masks:
        """Draw the masks of the scheme for `length` steps (None: config.seq_len).

        In evaluation mode no masks are drawn. `first` is the index of the first sequence: see
        `draw_masks`.
        """
        return draw_masks(self.rnn, key, batch_size, length, first)

    def features(self, x: Tensor, state: RNNState, noise: Masks) -> tuple[Tensor, RNNState]:
        """The inputs of the output layer.   x (T, B, I) -> (T, B, H), and the last state"""
        return self.rnn(x, state, noise)

    def _check_inputs(self, x: Tensor, state: RNNState, noise: Masks) -> None:
        checks.check_noise("x", x, (None, None, self.rnn.input_dim), self)
        T, B, I = x.shape  # noqa: E741
        checks.check_window(self, T, B, state, noise, I)
