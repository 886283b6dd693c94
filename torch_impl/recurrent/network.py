"""A stack of recurrent layers, and the dropout at its L + 1 places.

The cell of one layer is written in rnn.py and lstm.py; this file has what they share: names, the
order of layers and masks, the state. The dropout schemes are in model_specs/recurrent/dropout.py:
a scheme is the shape of a mask and the places where it is applied.
Left panel: numpy_ref/recurrent/stack.py
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_specs.common.fields import check_positive_int, check_rate
from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks, Plan, RecurrentConfig, plan
from torch_impl.nn import random
from torch_impl.nn.module import as_dtype


class Dropout(nn.Module):
    """y = x m / (1 - p) in training, where m is 1 or 0; y = x in evaluation or without a mask.

    Shapes: x (T, B, W), mask (T or 1, B, W) bool. The mask is an argument: nothing is drawn here,
    and nothing is remembered from one call to the next.
    Source: inverted dropout, Srivastava et al. (2014), section 10. Raises: ValueError for a rate
    outside [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        check_rate("rate", rate)
        self.rate = rate

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        m = self.scaled(mask, x.dtype)
        return x if m is None else x * m

    def scaled(self, mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """m / (1 - p) as numbers, or None where nothing is to be dropped."""
        if mask is None or not self.training:
            return None
        return mask.to(dtype) * (1 / (1 - self.rate))


def draw_masks(
    key: Key,
    plans: tuple[Plan, ...],
    batch_size: int,
    first: int = 0,
    device: torch.device | str | None = None,
) -> Masks:
    """The masks that `model_specs.recurrent.dropout.plan` asks for, (steps, B, width) each.

    Example n owns a stretch of each stream, whatever the batch: `first` is the number of the first
    example, so that a part of a batch gets the masks it would get in the whole.
    """
    result = {}
    for name, rate, steps, widths in plans:
        masks = []
        for place, width in enumerate(widths):
            stream = key.fold_in(name).fold_in(place)
            start = first * steps * width
            mask = random.dropout_mask(stream, (batch_size, steps, width), rate, start, device)
            masks.append(mask.swapaxes(0, 1).contiguous())
        result[name] = tuple(masks)
    return Masks(**result)


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(nn.Module):
    """x -> D -> layer 0 -> D -> layer 1 -> ... -> D -> y, over T steps.

    Shapes: T steps, B sequences, I inputs, H units, L layers, G gates: weight_ih_l0 (G H, I),
    weight_ih_l (G H, H), weight_hh_l (G H, H), biases (G H): the names, layouts and order of
    torch.nn.RNN and torch.nn.LSTM, so `state_dict` moves to and from them unchanged.
    """

    gates: int
    kernel: Callable[..., Any]
    """torch's fused kernel, which runs one layer over all steps."""

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
        """True if torch's fused kernel can run a layer: it cannot drop h_{t-1}."""
        return m is None and self.config.kernel == "fused"

    def fused(self, x: Tensor, state: Any, layer: int) -> tuple[Tensor, ...]:
        """One layer over all steps by torch's fused kernel.

        Under autocast it runs in float32 on a CPU that has no half-precision training kernel for
        it, as autocast does with every operation that has none.
        """
        weights, drop = self.weights(layer), 0.0
        options = (weights, True, 1, drop, self.training, False, False)
        if x.device.type != "cpu" or half_precision_trains(self.kernel):
            return self.kernel(x, state, *options)
        with torch.autocast("cpu", enabled=False):
            return self.kernel(x.to(weights[0].dtype), state, *options)


def half_precision_trains(kernel: Callable[..., Any]) -> bool:
    """True if torch's fused CPU kernel trains in the precision that autocast asks of it."""
    # a compiler takes the kernel apart, and then oneDNN's LSTM is not reached
    if torch.compiler.is_compiling() or not torch.is_autocast_enabled("cpu"):
        return True
    return _trains(kernel, torch.get_autocast_dtype("cpu"))


@functools.cache
def _trains(kernel: Callable[..., Any], dtype: torch.dtype) -> bool:
    """Run a layer of one unit forward and backward, and see whether that fails.

    torch passes a half-precision LSTM to oneDNN, which has no training primitive for some
    processors (float16 with AVX512-FP16, either dtype with AVX2 alone) and some settings of
    ONEDNN_MAX_CPU_ISA, and there is nothing else to ask.
    """
    gates, zero = (4 if kernel is torch.lstm else 1), torch.zeros(1, 1, 1)
    x = torch.ones(1, 1, 1, requires_grad=True)
    weights = [torch.ones(gates, *axes, requires_grad=True) for axes in ((1,), (1,), (), ())]
    state = (zero, zero) if kernel is torch.lstm else zero
    try:
        with torch.enable_grad(), torch.autocast("cpu", dtype):
            y = kernel(x, state, weights, True, 1, 0.0, True, False, False)[0]
            torch.autograd.grad(y.float().sum(), [x, *weights])
    except RuntimeError:
        return False
    return True
