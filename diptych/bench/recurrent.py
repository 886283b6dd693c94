"""The RNN and the LSTM, whole and in parts, beside the plain torch module that anyone would write.

The plain module (torch.nn.LSTM or RNN, its own dropout, Linear, cross_entropy) is what all ratios
refer to; dropout masks are drawn anew in each call, by all.
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
from diptych.bench.workload import Runs
from diptych.pairs.pair import Pair
from model_specs.common.key import Key
from numpy_ref.nn import optim
from numpy_ref.nn.module import as_dtype

WORK = ("gradients", "step", "recurrent body", "output layer")
"""Masks, loss and all gradients; the same, clipped, and one step of SGD; forward and backward of
the recurrent layers alone, masks included; and of the output layer with its loss."""
PLAIN = "plain torch"
KEY = Key(0).fold_in("bench")
CLIP = 5.0


class Plain(nn.Module):
    """What the right panel would be without Diptych: dropout as torch draws it."""

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
    work: str,
    devices: list[str],
    compiled: bool,
) -> Runs:
    """One callable for each way; `compiled` is not used: cuDNN and the loops are not compiled."""
    left = pair.left(config, KEY, dtype=dtype)
    batch = pair.batch(config, KEY, as_dtype(dtype), batch_size)._replace(weight=None)
    result = {"numpy": _LEFT[work](left, batch, batch_size)}
    for device in devices:
        right = pair.right(config, KEY, dtype=dtype, device=device)
        plain = Plain(config).to(device, getattr(torch, dtype))
        there = to_tensors(batch, torch.device(device), track=False)
        result[f"torch {device}"] = _RIGHT[work](right, there, batch_size)
        name = PLAIN if device == "cpu" else f"{PLAIN} {device}"
        result[name] = _PLAIN[work](plain, there)
    return result


def _left_gradients(model: Any, batch: Any, size: int) -> Callable[[], None]:
    def run() -> None:
        model.zero_grad()
        _, backward = model.loss(batch, model.draw_noise(KEY, size))
        backward()

    return run


def _left_step(model: Any, batch: Any, size: int) -> Callable[[], None]:
    gradients, sgd = _left_gradients(model, batch, size), optim.SGD(model.parameters(), lr=1e-3)

    def run() -> None:
        gradients()
        optim.clip_grad_norm(model.parameters(), CLIP)
        sgd.step()

    return run


def _left_body(model: Any, batch: Any, size: int) -> Callable[[], None]:
    x = model.embedding(batch.x)[0] if hasattr(model, "embedding") else batch.x
    body = model.lstm if hasattr(model, "lstm") else model.rnn
    dy = body(x, batch.state, model.draw_noise(KEY, size))[0][0]
    rest = [None] * len(batch.state)

    def run() -> None:
        body.zero_grad()
        _, vjp = body(x, batch.state, model.draw_noise(KEY, size))
        vjp(dy, *rest)

    return run


def _left_output(model: Any, batch: Any, size: int) -> Callable[[], None]:
    h = _hidden(model, batch)

    def run() -> None:
        model.decoder.zero_grad()
        error, vjp = model.decoder(h, batch.y)
        vjp(np.ones_like(error))

    return run


def _hidden(model: Any, batch: Any) -> Any:
    """Numbers to hand to the output layer."""
    h = batch.state.h[-1:]
    repeat = h.repeat if not isinstance(h, Tensor) else partial(torch.repeat_interleave, h)
    return repeat(len(batch.y), 0)


def _backward(parameters: Any, run: Callable[[], Tensor], dy: Tensor | None = None) -> None:
    for parameter in parameters:
        parameter.grad = None
    result = run()
    result.backward(dy)
    if result.is_cuda:
        torch.cuda.synchronize()


def _step(model: nn.Module, run: Callable[[], Tensor], sgd: Any) -> None:
    _backward(model.parameters(), run)
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    sgd.step()


def _right_gradients(model: Any, batch: Any, size: int) -> Callable[[], None]:
    def loss() -> Tensor:
        return model.loss(batch, model.draw_noise(KEY, size)).total

    return partial(_backward, list(model.parameters()), loss)


def _right_step(model: Any, batch: Any, size: int) -> Callable[[], None]:
    def loss() -> Tensor:
        return model.loss(batch, model.draw_noise(KEY, size)).total

    return partial(_step, model, loss, torch.optim.SGD(model.parameters(), lr=1e-3))


def _right_body(model: Any, batch: Any, size: int) -> Callable[[], None]:
    embedded = hasattr(model, "embedding")
    x = model.embedding(batch.x).detach().requires_grad_() if embedded else batch.x
    body = model.lstm if embedded else model.rnn
    dy = body(x, batch.state, model.draw_noise(KEY, size))[0].detach()

    def run() -> Tensor:
        return body(x, batch.state, model.draw_noise(KEY, size))[0]

    return partial(_backward, [*body.parameters()], run, dy)


def _right_output(model: Any, batch: Any, size: int) -> Callable[[], None]:
    h = _hidden(model, batch).requires_grad_()
    return partial(
        _backward, [*model.decoder.parameters(), h], lambda: model.decoder(h, batch.y).sum()
    )


def _plain_body(model: Plain, batch: Any) -> Callable[[], None]:
    x = model.embedding(batch.x).detach()
    x.requires_grad_(not isinstance(model.embedding, nn.Identity))
    dy = model.layers(x).detach()
    return partial(_backward, [*model.body.parameters()], lambda: model.layers(x), dy)


def _plain_output(model: Plain, batch: Any) -> Callable[[], None]:
    h = _hidden(model, batch).requires_grad_()
    return partial(_backward, [*model.output.parameters(), h], lambda: model.error(h, batch.y))


_LEFT = dict(zip(WORK, (_left_gradients, _left_step, _left_body, _left_output), strict=True))
_RIGHT = dict(zip(WORK, (_right_gradients, _right_step, _right_body, _right_output), strict=True))
_PLAIN: dict[str, Callable[[Plain, Any], Callable[[], None]]] = {
    "gradients": lambda m, batch: partial(_backward, list(m.parameters()), lambda: m.loss(batch)),
    "step": lambda m, batch: partial(
        _step, m, lambda: m.loss(batch), torch.optim.SGD(m.parameters(), lr=1e-3)
    ),
    "recurrent body": _plain_body,
    "output layer": _plain_output,
}
