"""A stack of recurrent layers with dropout at its L + 1 places.   Left: numpy_ref/recurrent.py

What a cell does in one layer is written in rnn.py and lstm.py; here is what they share: names, the
order of layers and masks, the state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_specs.dropout import Masks, RecurrentConfig, plan
from model_specs.fields import check_positive_int
from model_specs.key import Key
from torch_impl.dropout import Dropout, draw_masks
from torch_impl.module import as_dtype

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(nn.Module):
    """x -> D -> layer 0 -> D -> layer 1 -> ... -> D -> y, over T steps.

    Shapes: T steps, B sequences, I inputs, H units, L layers, G gates: weight_ih_l0 (G H, I),
    weight_ih_l (G H, H), weight_hh_l (G H, H), biases (G H): the names, layouts and order of
    torch.nn.RNN and torch.nn.LSTM, so `state_dict` moves to and from them unchanged.
    """

    gates: int

    def __init__(
        self,
        input_dim: int,
        config: RecurrentConfig,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config, self.input_dim = config, input_dim
        H, G = config.hidden_dim, self.gates
        for layer in range(config.num_layers):
            width = H if layer else input_dim
            shapes = ((G * H, width), (G * H, H), (G * H,), (G * H,))
            for name, shape in zip(NAMES, shapes, strict=True):
                weight = nn.Parameter(torch.empty(shape, dtype=as_dtype(dtype), device=device))
                self.register_parameter(f"{name}_l{layer}", weight)
        self.dropout = Dropout(config.rate)
        self.recurrent_dropout = Dropout(config.rate_through)

    def weights(self, layer: int) -> tuple[Tensor, ...]:
        """weight_ih, weight_hh, bias_ih, bias_hh of one layer."""
        return tuple(getattr(self, f"{name}_l{layer}") for name in NAMES)

    def draw_masks(self, key: Key, batch_size: int, length: int | None, first: int) -> Masks:
        """The scheme's masks for `length` steps (None: config.seq_len); none in evaluation."""
        c = self.config
        steps = c.seq_len if length is None else length
        check_positive_int("batch_size", batch_size)
        check_positive_int("length", steps)
        widths = (self.input_dim, *[c.hidden_dim] * c.num_layers)
        plans = plan(c.scheme, c.rate, c.rate_through, steps, widths)
        return draw_masks(
            key, plans if self.training else (), batch_size, first, self.weights(0)[0].device
        )

    def forward(self, x: Tensor, state: Any, masks: Masks) -> tuple[Tensor, Any]:
        """x (T, B, I), state of (L, B, H) -> (y (T, B, H), the state after the last step).

        The state is what the layers hold, undropped; y has passed the last mask.
        """
        L = self.config.num_layers
        finals = []
        for layer in range(L):
            d = self.dropout(x, masks.into(layer))
            m = self.recurrent_dropout.scaled(masks.through(layer), x.dtype)
            x, *final = self.layer(d, *(part[layer] for part in state), m, layer)
            finals.append(final)
        y = self.dropout(x, masks.into(L))
        return y, type(state)(*(torch.stack(parts) for parts in zip(*finals, strict=True)))

    def layer(self, x: Tensor, *state_mask_layer: Any) -> tuple[Tensor, ...]:
        """One layer over all steps: (x, parts of its state, mask, its number) -> (y, state)."""
        raise NotImplementedError(f"{type(self).__name__} has no layer")

    def _project(self, x: Tensor, layer: int) -> Tensor:
        """W_ih x_t + b_ih + b_hh for all steps at once, in one GEMM.   (T, B, I) -> (T, B, G H)"""
        weight_ih, _, bias_ih, bias_hh = self.weights(layer)
        return F.linear(x, weight_ih, bias_ih + bias_hh)

    def fuses(self, m: Tensor | None) -> bool:
        """Whether torch's own kernel can run a layer: it cannot drop h_{t-1}."""
        return m is None and self.config.kernel == "fused"
