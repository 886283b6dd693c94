"""A stack of recurrent layers, and the dropout at its L + 1 places.

The cell of one layer is written in rnn.py and lstm.py; this file has what they share: names, the
order of layers and masks, the state. The dropout schemes are in model_specs/recurrent/dropout.py:
a scheme is the shape of a mask and the places where it is applied.
Right panel: torch_impl/recurrent/stack.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int, check_rate
from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks, Plan, RecurrentConfig, plan
from numpy_ref.nn import random
from numpy_ref.nn.module import Array, Module, Parameter, Vjp, as_dtype


class Dropout(Module):
    """y = x m / (1 - p) in training, where m is 1 or 0; y = x in evaluation or without a mask.

    Shapes: x (T, B, W), mask (T or 1, B, W) bool. The mask is an argument: nothing is drawn here,
    and nothing is remembered from one call to the next.
    Source: inverted dropout, Srivastava et al. (2014), section 10. Raises: ValueError for a rate
    outside [0, 1).
    """

    def __init__(self, rate: float) -> None:
        check_rate("rate", rate)
        self.rate = rate

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Vjp]:
        m = self.scaled(mask, x.dtype)
        if m is None:
            return x, lambda dy: dy
        return x * m, lambda dy: dy * m

    def scaled(self, mask: Array | None, dtype: np.dtype) -> Array | None:
        """m / (1 - p) as numbers, or None where nothing is to be dropped."""
        if mask is None or not self.training:
            return None
        return mask.astype(dtype) * dtype.type(1 / (1 - self.rate))


def draw_masks(key: Key, plans: tuple[Plan, ...], batch_size: int, first: int = 0) -> Masks:
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
            mask = random.dropout_mask(stream, (batch_size, steps, width), rate, start)
            masks.append(np.ascontiguousarray(mask.swapaxes(0, 1)))
        result[name] = tuple(masks)
    return Masks(**result)


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(Module):
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
        dtype: DTypeLike = np.float64,
        *,
        input_grad: bool = True,
    ) -> None:
        self.config, self.input_dim = config, input_dim
        self._input_grad = input_grad  # as Linear's: nobody asks for the gradient of data
        H, G = config.hidden_dim, self.gates
        for layer in range(config.num_layers):
            width = H if layer else input_dim
            shapes = ((G * H, width), (G * H, H), (G * H,), (G * H,))
            for name, shape in zip(NAMES, shapes, strict=True):
                setattr(self, f"{name}_l{layer}", Parameter(np.empty(shape, as_dtype(dtype))))
        self.dropout = Dropout(config.rate)
        self.recurrent_dropout = Dropout(config.rate_through)

    def weights(self, layer: int) -> tuple[Parameter, ...]:
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
        return draw_masks(key, plans if self.training else (), batch_size, first)

    def forward(self, x: Array, state: Any, masks: Masks) -> tuple[Any, Vjp]:
        """x (T, B, I), state of (L, B, H) -> (y (T, B, H), the state after the last step).

        The state is what the layers hold, undropped; y has passed the last mask. The vjp takes the
        gradients of y and of each part of that state (None: none flows) and returns those of x and
        of each part of the first state.
        """
        L = self.config.num_layers
        finals, vjps = [], []
        for layer in range(L):
            d, d_vjp = self.dropout(x, masks.into(layer))
            m = self.recurrent_dropout.scaled(masks.through(layer), x.dtype)
            (x, *final), x_vjp = self.layer(d, *(part[layer] for part in state), m, layer)
            finals.append(final)
            vjps.append((d_vjp, x_vjp))
        y, y_vjp = self.dropout(x, masks.into(L))
        last = type(state)(*map(np.stack, zip(*finals, strict=True)))

        def vjp(dy: Array, *dlast: Array | None) -> tuple[Array | None, ...]:
            dx = y_vjp(dy)
            dfirsts: list[Any] = []
            for layer in reversed(range(L)):
                d_vjp, x_vjp = vjps[layer]
                dd, *dfirst = x_vjp(dx, *(None if d is None else d[layer] for d in dlast))
                dx = None if dd is None else d_vjp(dd)
                dfirsts.insert(0, dfirst)
            return dx, *map(np.stack, zip(*dfirsts, strict=True))

        return (y, last), vjp

    def layer(self, x: Array, *state_mask_layer: Any) -> tuple[Any, Vjp]:
        """One layer over all steps: (x, parts of its state, mask, its number) -> (y, state)."""
        raise NotImplementedError(f"{type(self).__name__} has no layer")

    def _project(self, x: Array, layer: int) -> tuple[Array, Vjp]:
        """W_ih x_t + b_ih + b_hh for all steps at once, in one GEMM.   (T, B, I) -> (T, B, G H)"""
        weight_ih, _, bias_ih, bias_hh = self.weights(layer)
        rows = x.reshape(-1, x.shape[-1])
        a = rows @ weight_ih.data.T
        a += bias_ih.data + bias_hh.data

        def vjp(da: Array) -> Array | None:
            drows = da.reshape(len(rows), -1)
            weight_ih.add_product(drows.T, rows)
            db = drows.sum(0)
            bias_ih.grad += db
            bias_hh.grad += db
            wanted = layer > 0 or self._input_grad
            return (drows @ weight_ih.data).reshape(x.shape) if wanted else None

        return a.reshape(*x.shape[:2], -1), vjp
