"""A recurrent network around its cell: dropout, the layers over time, the output and the loss.

    x -> D -> layer 1 -> D -> ... -> layer L -> D -> output -> loss

The cells are in rnn.py and lstm.py, the dropout schemes in model_specs/recurrent/dropout.py: a
scheme is the shape of its masks and the connections D on which they lie.
Shapes: T steps, B sequences, I inputs, H units, L layers, G gates, O outputs; W = I or H.
Source: Zaremba et al. (2014), section 3.   Right panel: torch_impl/recurrent/network.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_rate
from model_specs.recurrent.dropout import Masks, RecurrentConfig
from numpy_ref.nn import checks, functional
from numpy_ref.nn.module import Array, Module, Parameter, Vjp, as_dtype


class Dropout(Module):
    """y = x m / (1 - p) in training, where m is 1 or 0; y = x in evaluation or without a mask.

    The layer draws no random numbers. Shapes: x (T, B, W), mask (T or 1, B, W) bool.
    Source: inverted dropout, Srivastava et al. (2014), section 10.
    Raises: ValueError for a rate outside [0, 1).
    """

    def __init__(self, rate: float) -> None:
        check_rate("rate", rate)
        self.rate = rate

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Vjp]:
        m = self.scale(mask, x.dtype)
        if m is None:
            return x, lambda dy: dy
        return x * m, lambda dy: dy * m

    def scale(self, mask: Array | None, dtype: np.dtype) -> Array | None:
        """m / (1 - p), the factor of each unit; None if no unit is dropped."""
        if mask is None or not self.training:
            return None
        return mask.astype(dtype) * dtype.type(1 / (1 - self.rate))


PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(Module):
    """x -> D -> layer 1 -> D -> ... -> layer L -> D -> y, over T steps.

    Shapes: weight_ih_l0 (G H, I), weight_ih_l (G H, H), weight_hh_l (G H, H), biases (G H): the
    names and layouts of torch.nn.RNN and torch.nn.LSTM, whose `state_dict` fits unchanged.
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
        self.config, self.input_dim, self._input_grad = config, input_dim, input_grad
        H, G = config.hidden_dim, self.gates
        for layer in range(config.num_layers):
            width = H if layer else input_dim
            shapes = ((G * H, width), (G * H, H), (G * H,), (G * H,))
            for name, shape in zip(PARAMETERS, shapes, strict=True):
                setattr(self, f"{name}_l{layer}", Parameter(np.empty(shape, as_dtype(dtype))))
        self.dropout = Dropout(config.rate)
        self.recurrent_dropout = Dropout(config.hidden_rate)

    def weights(self, layer: int) -> tuple[Parameter, ...]:
        """weight_ih, weight_hh, bias_ih, bias_hh of one layer."""
        return tuple(getattr(self, f"{name}_l{layer}") for name in PARAMETERS)

    def forward(self, x: Array, state: Any, masks: Masks) -> tuple[Any, Vjp]:
        """x (T, B, I), state of (L, B, H) -> (y (T, B, H), the state after the last step).

        The last mask drops y, not the state. The vjp takes the gradients of y and of each part of
        the last state (None: zero), and returns those of x and of each part of the first state.
        """
        L = self.config.num_layers
        input_masks = masks.inputs or (None,) * (L + 1)
        hidden_masks = masks.recurrent or (None,) * L
        last_states, vjps = [], []
        for layer in range(L):
            d, d_vjp = self.dropout(x, input_masks[layer])
            m = self.recurrent_dropout.scale(hidden_masks[layer], x.dtype)
            first = type(state)(*(part[layer] for part in state))
            (x, *final), x_vjp = self.layer(d, first, m, layer)
            last_states.append(final)
            vjps.append((d_vjp, x_vjp))
        y, y_vjp = self.dropout(x, input_masks[L])
        last = type(state)(*map(np.stack, zip(*last_states, strict=True)))

        def vjp(dy: Array, *dlast: Array | None) -> tuple[Array | None, ...]:
            dx = y_vjp(dy)
            dfirsts: list[Any] = [None] * L
            for layer in reversed(range(L)):
                d_vjp, x_vjp = vjps[layer]
                dd, *dfirsts[layer] = x_vjp(dx, *(None if d is None else d[layer] for d in dlast))
                dx = None if dd is None else d_vjp(dd)
            return dx, *map(np.stack, zip(*dfirsts, strict=True))

        return (y, last), vjp

    def layer(
        self, x: Array, state: tuple[Array, ...], m: Array | None, layer: int
    ) -> tuple[tuple[Array, ...], Vjp]:
        """One layer over all steps.

            a_t = W_ih x_t + b_ih + b_hh + W_hh (m_t h_{t-1});   state_t = cell(a_t, state_{t-1})

        Shapes: x (T, B, I), state (h, ...) of (B, H), m (T or 1, B, H) or None -> h (T, B, H) and
        each part of the last state. The vjp takes their gradients (None: zero), and returns those
        of x and of each part of the first state.
        """
        weight_hh = self.weights(layer)[1]
        W = np.ascontiguousarray(weight_hh.data.T)  # contiguous, as T products read it
        a, a_vjp = self._project(x, layer)
        (T, *shape), (h0, *rest) = a.shape, state
        h, vjps = np.empty((T + 1, *h0.shape), a.dtype), []
        h[0] = h0
        m = None if m is None else np.broadcast_to(m, h[1:].shape)
        for t in range(T):
            a[t] += (h[t] if m is None else h[t] * m[t]) @ W
            (*rest,), cell_vjp = self._cell(a[t], *rest, out=h[t + 1])
            vjps.append(cell_vjp)

        def vjp(dy: Array, *dlast: Array | None) -> tuple[Array | None, ...]:
            da = np.empty((T, *shape), dy.dtype)
            dh, *drest = (np.zeros_like(h0) if d is None else d for d in dlast)
            for t in reversed(range(T)):
                da[t], *drest = vjps[t](dy[t] + dh, *drest, out=da[t])
                dh = da[t] @ weight_hh.data
                if m is not None:
                    dh *= m[t]
            h_prev = (h[:-1] if m is None else h[:-1] * m).reshape(-1, h.shape[-1])
            functional.add_product(weight_hh.grad, da.reshape(len(h_prev), -1).T, h_prev)
            return a_vjp(da), dh, *drest

        return (h[1:], h[-1], *rest), vjp

    def _cell(self, a: Array, *rest: Array, out: Array) -> tuple[tuple[Array, ...], Vjp]:
        """One step: a (B, G H) and the state without h -> the new state without h.

        The new h is written to `out`. The vjp takes the gradients of h and of the rest of the new
        state, and returns those of a, written to its `out`, and of the rest of the old state.
        """
        raise NotImplementedError(f"{type(self).__name__} has no cell")

    def _project(self, x: Array, layer: int) -> tuple[Array, Vjp]:
        """W_ih x_t + b_ih + b_hh of all steps in one product.   (T, B, I) -> (T, B, G H)"""
        weight_ih, _, bias_ih, bias_hh = self.weights(layer)
        a, _ = functional.linear(x, weight_ih.data, bias_ih.data + bias_hh.data)

        def vjp(da: Array) -> Array | None:
            drows = da.reshape(-1, da.shape[-1])
            functional.add_product(weight_ih.grad, drows.T, x.reshape(len(drows), -1))
            db = drows.sum(0)
            bias_ih.grad += db
            bias_hh.grad += db
            return (drows @ weight_ih.data).reshape(x.shape) if layer or self._input_grad else None

        return a, vjp


class Output(Module):
    """Base class: the error of W h + b against targets y at every step; weight (O, H), bias (O)."""

    def __init__(self, in_dim: int, out_dim: int, dtype: DTypeLike = np.float64) -> None:
        self.weight = Parameter(np.empty((out_dim, in_dim), as_dtype(dtype)))
        self.bias = Parameter(np.empty(out_dim, as_dtype(dtype)))

    @property
    def dtype(self) -> np.dtype:
        return self.weight.data.dtype

    def outputs(self, h: Array) -> Array:
        """W h + b; value only.   (..., H) -> (..., O)"""
        return functional.linear(h, self.weight.data, self.bias.data)[0]

    def check_targets(self, y: Array, shape: tuple[int, int]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no targets")


class SoftmaxOutput(Output):
    """error = cross_entropy(W h + b, y) = -log softmax(W h + b)[y], nats.

    A vocabulary is large: d error / d logits overwrites the logits, a block of rows at a time.
    Shapes: h (T, B, H), y (T, B) int64 in [0, O) -> error (T, B).
    """

    def forward(self, h: Array, y: Array) -> tuple[Array, Vjp]:
        targets = y.reshape(-1)
        logits = h.reshape(-1, h.shape[-1]) @ self.weight.data.T
        error, ones = np.empty(len(logits), logits.dtype), np.ones(len(logits), logits.dtype)
        for rows in functional.row_blocks(logits, 40_000):
            block = np.add(logits[rows], self.bias.data, out=logits[rows])
            error[rows], error_vjp = functional.cross_entropy(block, targets[rows], out=block)
            error_vjp(ones[rows], out=block)
        dlogits = logits  # before the errors are weighted

        def vjp(derror: Array) -> Array:
            d = derror.reshape(-1, 1)
            functional.add_product(self.weight.grad, dlogits.T, d * h.reshape(len(d), -1))
            self.bias.grad += d[:, 0] @ dlogits
            return (d * (dlogits @ self.weight.data)).reshape(h.shape)

        return error.reshape(y.shape), vjp

    def check_targets(self, y: Array, shape: tuple[int, int]) -> None:
        """Raise ValueError unless y is int64 of `shape`, each in [0, O)."""
        checks.check_tokens("y", y, shape, len(self.bias.data))


def weighted_loss(error: Array, weight: Array | None) -> tuple[Array, Array, Array]:
    """Sum over T of weight error, averaged over B; the weighted mean; d total / d error.

    Shapes: error (T, B), weight (T, B) or None for ones everywhere. Units: those of the error.

    >>> weighted_loss(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]))[:2]
    (np.float64(2.0), np.float64(2.0))
    """
    w = np.ones_like(error) if weight is None else weight
    weighted = (w * error).sum()
    return weighted / error.shape[1], weighted / w.sum(), w / error.shape[1]


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
    def dtype(self) -> np.dtype:
        return self.decoder.dtype

    def zero_state(self, batch_size: int) -> Any:
        """The state before the first window: zeros, (L, B, H) in every part."""
        shape = (self.config.num_layers, batch_size, self.config.hidden_dim)
        return self.state_type(*(np.zeros(shape, self.dtype) for _ in self.state_type._fields))

    def features(self, x: Array, state: Any, noise: Masks) -> tuple[Any, Vjp]:
        """The inputs of the output layer, (T, B, H), and the state after the last step."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def loss(self, batch: Any, noise: Masks) -> tuple[Any, Callable[[], None]]:
        """The loss terms, and `backward`, which adds d total / d parameter to every `.grad`.

        Backpropagation through time is truncated: no gradient leaves the window through its state.
        Raises: ValueError for a batch or noise of wrong shape, dtype or range, NaN and inf too.
        """
        self._check(batch, noise)
        (h, state), h_vjp = self.features(batch.x, batch.state, noise)
        error, error_vjp = self.decoder(h, batch.y)  # (T, B)
        total, mean, derror = weighted_loss(error, batch.weight)

        def backward() -> None:
            h_vjp(error_vjp(derror), *(None for _ in state))

        return self.loss_type(total, mean, state), backward

    def predict(self, x: Array, state: Any, noise: Masks = Masks()) -> tuple[Array, Any]:  # noqa: B008
        """Outputs (T, B, O) after every step, logits or numbers, and the state; value only."""
        self._check_inputs(x, state, noise)
        (h, last), _ = self.features(x, state, noise)
        return self.decoder.outputs(h), last

    def token_nll(self, batch: Any, noise: Masks) -> tuple[Array, Any]:
        """The error (T, B) of every step, unweighted, and the state; value only."""
        self._check(batch, noise)
        (h, state), _ = self.features(batch.x, batch.state, noise)
        return self.decoder(h, batch.y)[0], state

    def _check(self, batch: Any, noise: Masks) -> None:
        self._check_inputs(batch.x, batch.state, noise)
        T, B = batch.x.shape[:2]
        self.decoder.check_targets(batch.y, (T, B))
        checks.check_weight(batch.weight, T, B, self)

    def _check_inputs(self, x: Array, state: Any, noise: Masks) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no inputs")
