"""A recurrent network around its cell: dropout, the layers over time, the output and the loss.

    x -> D -> layer 1 -> D -> ... -> layer L -> D -> output -> loss

The cells are in rnn.py and lstm.py, the dropout schemes in model_specs/recurrent/dropout.py: a
scheme is the shape of its masks and the connections D on which they lie.
Shapes: T steps, B sequences, I inputs, H units, L layers, G gates, O outputs; W = I or H.
Source: Zaremba et al. (2014), section 3.   Left panel: numpy_ref/recurrent/network.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_specs.common.fields import check_choice, check_rate
from model_specs.recurrent.dropout import Masks, RecurrentConfig
from torch_impl.nn import checks
from torch_impl.nn.module import Module, as_dtype
from torch_impl.recurrent.fused import KERNELS, FusedKernel, run_fused


class Dropout(nn.Module):
    """y = x m / (1 - p) in training, where m is 1 or 0; y = x in evaluation or without a mask.

    The layer draws no random numbers. Shapes: x (T, B, W), mask (T or 1, B, W) bool.
    Source: inverted dropout, Srivastava et al. (2014), section 10.
    Raises: ValueError for a rate outside [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        check_rate("rate", rate)
        self.rate = rate

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        m = self.scale(mask, x.dtype)
        if m is None:
            return x
        return x * m

    def scale(self, mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """m / (1 - p), the factor of each unit; None if no unit is dropped."""
        if mask is None or not self.training:
            return None
        return mask.to(dtype) * (1 / (1 - self.rate))


PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(nn.Module):
    """x -> D -> layer 1 -> D -> ... -> layer L -> D -> y, over T steps.

    `kernel` is "fused" or "loop": see torch_impl.recurrent.fused.KERNELS.
    Shapes: weight_ih_l0 (G H, I), weight_ih_l (G H, H), weight_hh_l (G H, H), biases (G H): the
    names and layouts of torch.nn.RNN and torch.nn.LSTM, whose `state_dict` fits unchanged.
    """

    gates: int
    fused_kernel: FusedKernel

    def __init__(
        self,
        input_dim: int,
        config: RecurrentConfig,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
        kernel: str = "fused",
    ) -> None:
        super().__init__()
        check_choice("kernel", kernel, KERNELS)
        self.config, self.input_dim, self.kernel = config, input_dim, kernel
        H, G = config.hidden_dim, self.gates
        for layer in range(config.num_layers):
            width = H if layer else input_dim
            shapes = ((G * H, width), (G * H, H), (G * H,), (G * H,))
            for name, shape in zip(PARAMETERS, shapes, strict=True):
                weight = nn.Parameter(torch.empty(shape, dtype=as_dtype(dtype), device=device))
                self.register_parameter(f"{name}_l{layer}", weight)
        self.dropout = Dropout(config.rate)
        self.recurrent_dropout = Dropout(config.hidden_rate)

    def weights(self, layer: int) -> tuple[Tensor, ...]:
        """weight_ih, weight_hh, bias_ih, bias_hh of one layer."""
        return tuple(getattr(self, f"{name}_l{layer}") for name in PARAMETERS)

    def forward(self, x: Tensor, state: Any, masks: Masks) -> tuple[Tensor, Any]:
        """x (T, B, I), state of (L, B, H) -> (y (T, B, H), the state after the last step).

        The last mask drops y, not the state.
        """
        L = self.config.num_layers
        input_masks = masks.inputs or (None,) * (L + 1)
        hidden_masks = masks.recurrent or (None,) * L
        last_states = []
        for layer in range(L):
            d = self.dropout(x, input_masks[layer])
            m = self.recurrent_dropout.scale(hidden_masks[layer], x.dtype)
            first = type(state)(*(part[layer] for part in state))
            x, *final = self.layer(d, first, m, layer)
            last_states.append(final)
        y = self.dropout(x, input_masks[L])
        return y, type(state)(*(torch.stack(parts) for parts in zip(*last_states, strict=True)))

    def layer(
        self, x: Tensor, state: tuple[Tensor, ...], m: Tensor | None, layer: int
    ) -> tuple[Tensor, ...]:
        """One layer over all steps.

            a_t = W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1});   state_t = cell(a_t, state_{t-1})

        Shapes: x (T, B, I), state (h, ...) of (B, H), m (T or 1, B, H) or None -> h (T, B, H) and
        each part of the last state.
        """
        if self.kernel == "fused" and m is None:  # torch's kernels cannot drop h_{t-1}
            weights = self.weights(layer)
            return run_fused(self.fused_kernel, x, state, weights, self.training)
        weight_hh = self.weights(layer)[1]
        a = self._project(x, layer)
        T, (h, *rest) = len(a), state
        hs = []
        m = None if m is None else m.expand(T, *h.shape)
        for t in range(T):
            a_t = a[t] + (h if m is None else h * m[t]) @ weight_hh.T
            h, *rest = self._cell(a_t, *rest)
            hs.append(h)
        return torch.stack(hs), h, *rest

    def _cell(self, a: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """One step: a (B, G H) and the state without h -> the new state."""
        raise NotImplementedError(f"{type(self).__name__} has no cell")

    def _project(self, x: Tensor, layer: int) -> Tensor:
        """W_ih x_t + b_ih + b_hh of all steps in one product.   (T, B, I) -> (T, B, G H)"""
        weight_ih, _, bias_ih, bias_hh = self.weights(layer)
        return F.linear(x, weight_ih, bias_ih + bias_hh)


class Output(nn.Module):
    """Base class: the error of W h + b against targets y at every step; weight (O, H), bias (O)."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        dtype = as_dtype(dtype)
        self.weight = nn.Parameter(torch.empty(out_dim, in_dim, dtype=dtype, device=device))
        self.bias = nn.Parameter(torch.empty(out_dim, dtype=dtype, device=device))

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def outputs(self, h: Tensor) -> Tensor:
        """W h + b; value only.   (..., H) -> (..., O)"""
        return F.linear(h, self.weight, self.bias)

    def check_targets(self, y: Tensor, shape: tuple[int, int]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no targets")


class SoftmaxOutput(Output):
    """error = cross_entropy(W h + b, y) = -log softmax(W h + b)[y], nats.

    Shapes: h (T, B, H), y (T, B) int64 in [0, O) -> error (T, B).
    """

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        targets = checks.safe_tokens(y.flatten(), len(self.bias))
        logits = F.linear(h, self.weight, self.bias).flatten(0, 1).to(self.dtype)
        error = F.cross_entropy(logits, targets, reduction="none")
        return error.view(y.shape)

    def check_targets(self, y: Tensor, shape: tuple[int, int]) -> None:
        """Raise ValueError unless y is int64 of `shape`, each in [0, O)."""
        checks.check_tokens("y", y, shape, len(self.bias), self)


def weighted_loss(error: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sum over T of weight error, averaged over B; and the weighted mean.

    Shapes: error (T, B), weight (T, B) or None for ones everywhere. Units: those of the error.
    """
    w = torch.ones_like(error) if weight is None else weight
    weighted = (w * error).sum()
    return weighted / error.shape[1], weighted / w.sum()


class SequenceModel(Module):
    """The loss and the predictions that the RNN and the LSTM share, in the units of the error.

        loss = sum_t weight_t error_t, averaged over the sequences

    A subclass has these attributes, and the methods `features`, `draw_noise`, `_check_inputs`.
    """

    config: RecurrentConfig
    decoder: Output
    state_type: Any
    loss_type: Callable[..., Any]

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.dtype

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    def zero_state(self, batch_size: int) -> Any:
        """The state before the first window: zeros, (L, B, H) in every part."""
        shape = (self.config.num_layers, batch_size, self.config.hidden_dim)
        factory_kwargs: Any = {"dtype": self.dtype, "device": self.device}
        return self.state_type(
            *(torch.zeros(shape, **factory_kwargs) for _ in self.state_type._fields)
        )

    def features(self, x: Tensor, state: Any, noise: Masks) -> tuple[Tensor, Any]:
        """The inputs of the output layer, (T, B, H), and the state after the last step."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def loss(self, batch: Any, noise: Masks) -> Any:
        """The loss terms; `loss.total.backward()` computes the gradients.

        Backpropagation through time is truncated: no gradient leaves the window through its state.
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        self._check(batch, noise)
        h, state = self.features(batch.x, batch.state, noise)
        error = self.decoder(h, batch.y)  # (T, B)
        total, mean = weighted_loss(error, batch.weight)
        return self.loss_type(total, mean, self.state_type(*(part.detach() for part in state)))

    @torch.no_grad()
    def predict(self, x: Tensor, state: Any, noise: Masks = Masks()) -> tuple[Tensor, Any]:  # noqa: B008
        """Outputs (T, B, O) after every step, logits or numbers, and the state; value only."""
        with checks.together():
            self._check_inputs(x, state, noise)
        h, last = self.features(x, state, noise)
        return self.decoder.outputs(h), last

    @torch.no_grad()
    def token_nll(self, batch: Any, noise: Masks) -> tuple[Tensor, Any]:
        """The error (T, B) of every step, unweighted, and the state; value only."""
        self._check(batch, noise)
        h, state = self.features(batch.x, batch.state, noise)
        return self.decoder(h, batch.y), state

    def _check(self, batch: Any, noise: Masks) -> None:
        with checks.together():
            self._check_inputs(batch.x, batch.state, noise)
            T, B = batch.x.shape[:2]
            self.decoder.check_targets(batch.y, (T, B))
            checks.check_weight(batch.weight, T, B, self)

    def _check_inputs(self, x: Tensor, state: Any, noise: Masks) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no inputs")
