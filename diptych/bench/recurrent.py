"""Benchmarks of the RNN and the LSTM, whole and in parts, beside a plain torch module.

The plain module uses torch.nn.LSTM or RNN, its own dropout, Linear and cross_entropy, as a user
without Diptych would write it; all ratios refer to it. Every call draws new dropout masks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.arrays import to_tensors
from diptych.bench.passes import numpy_backward, torch_backward
from diptych.bench.whole import KEY, numpy_model, torch_model
from diptych.bench.workload import Runs
from diptych.pairs.pair import Pair
from numpy_ref.nn import optim
from numpy_ref.nn.module import as_dtype

OPERATIONS = ("gradients", "step", "recurrent body", "output layer")
"""Masks, loss and all gradients; the same, clipped, and one step of SGD; forward and backward of
the recurrent layers alone, masks included; and of the output layer with its loss."""
PLAIN = "plain torch"
CLIP = 5.0
LR = 1e-3


class Plain(nn.Module):
    """The model of the right panel in plain torch, with dropout masks drawn by torch."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        c, self.rate = config, config.rate
        H, L, between = c.hidden_dim, c.num_layers, config.rate if config.num_layers > 1 else 0.0
        self.embedding: Any = nn.Identity()
        if hasattr(c, "vocab_size"):
            self.embedding = nn.Embedding(c.vocab_size, c.embedding_dim)
            self.body: Any = nn.LSTM(c.embedding_dim, H, L, dropout=between)
            self.output = nn.Linear(H, c.vocab_size)
        else:
            self.body = nn.RNN(c.input_dim, H, L, dropout=between)
            self.output = nn.Linear(H, c.output_dim)

    def layers(self, x: Tensor) -> Tensor:
        return F.dropout(self.body(F.dropout(x, self.rate))[0], self.rate)

    def error(self, h: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.output(h).flatten(0, 1), y.flatten(), reduction="sum")

    def loss(self, batch: Any) -> Tensor:
        return self.error(self.layers(self.embedding(batch.x)), batch.y) / batch.y.shape[1]


def runs(
    pair: Pair,
    config: Any,
    batch_size: int,
    dtype: str,
    operation: str,
    devices: list[str],
    compiled: bool,
) -> Runs:
    """Return a callable for each implementation; `compiled` is ignored, no loop is compiled."""
    left = pair.left(config, KEY, dtype=dtype)
    batch = pair.batch(config, KEY, as_dtype(dtype), batch_size)._replace(weight=None)
    callables = {"numpy": _left(left, batch, batch_size, operation)}
    for device in devices:
        right = pair.right(config, KEY, dtype=dtype, device=device)
        plain = Plain(config).to(device, getattr(torch, dtype))
        on_device = to_tensors(batch, torch.device(device), track=False)
        callables[f"torch {device}"] = _right(right, on_device, batch_size, operation)
        name = PLAIN if device == "cpu" else f"{PLAIN} {device}"
        callables[name] = _plain(plain, on_device, operation)
    return callables


def _left(model: Any, batch: Any, size: int, operation: str) -> Callable[[], Any]:
    if operation == "recurrent body":
        body = _body(model)
        x = model.embedding(batch.x)[0] if hasattr(model, "embedding") else batch.x
        forward = lambda: body(x, batch.state, model.draw_noise(KEY, size))  # noqa: E731
        dy = forward()[0][0]
        return numpy_backward(body, forward, dy, *(None for _ in batch.state))
    if operation == "output layer":
        h = _hidden(model, batch)
        dy = np.ones_like(model.decoder(h, batch.y)[0])
        return numpy_backward(model.decoder, lambda: model.decoder(h, batch.y), dy)
    sgd = optim.SGD(model.parameters(), lr=LR)

    def update() -> None:
        optim.clip_grad_norm(model.parameters(), CLIP)
        sgd.step()

    return numpy_model(model, lambda: model.loss(batch, model.draw_noise(KEY, size)), update)[
        operation
    ]


def _right(model: Any, batch: Any, size: int, operation: str) -> Callable[[], Any]:
    if operation == "recurrent body":
        body = _body(model)
        x, inputs = _embedded(model, batch)
        forward = lambda: body(x, batch.state, model.draw_noise(KEY, size))[0]  # noqa: E731
        return torch_backward(body, forward, forward().detach(), inputs=inputs)
    if operation == "output layer":
        h = _hidden(model, batch)
        return torch_backward(model.decoder, lambda: model.decoder(h, batch.y).sum(), inputs=(h,))
    loss = lambda: model.loss(batch, model.draw_noise(KEY, size)).total  # noqa: E731
    return torch_model(model, loss, partial(_clip_and_step, model, _sgd(model)))[operation]


def _plain(model: Plain, batch: Any, operation: str) -> Callable[[], Any]:
    if operation == "recurrent body":
        x, inputs = _embedded(model, batch)
        dy = model.layers(x).detach()
        return torch_backward(model.body, lambda: model.layers(x), dy, inputs=inputs)
    if operation == "output layer":
        h = _hidden(model, batch)
        return torch_backward(model.output, lambda: model.error(h, batch.y), inputs=(h,))
    update = partial(_clip_and_step, model, _sgd(model))
    return torch_model(model, lambda: model.loss(batch), update)[operation]


def _body(model: Any) -> Any:
    """Return the recurrent layers of a model of either panel."""
    return model.lstm if hasattr(model, "lstm") else model.rnn


def _embedded(model: Any, batch: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the input of the recurrent layers, and the tensors that take a gradient there.

    Embedded tokens take one, because the embedding is trained; the inputs of the RNN do not.
    """
    if batch.x.is_floating_point():
        return batch.x, ()
    x = model.embedding(batch.x).detach()
    return x, (x,)


def _hidden(model: Any, batch: Any) -> Any:
    """Return hidden states as inputs of the output layer: the initial state at every step."""
    h = batch.state.h[-1:]
    repeat = h.repeat if not isinstance(h, Tensor) else partial(torch.repeat_interleave, h)
    return repeat(len(batch.y), 0)


def _sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=LR)


def _clip_and_step(model: nn.Module, sgd: torch.optim.SGD) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    sgd.step()
