"""The parts of the RNN and the LSTM, and both models in plain torch.

The plain module uses torch.nn.LSTM or RNN, its own dropout, Linear and cross_entropy, as a user
without Diptych would write it. Every call draws new dropout masks.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.arrays import to_numpy, to_tensors
from diptych.bench.case import KEY, LR, Case
from diptych.bench.passes import NumpyBackward, TorchBackward, gradients_of
from diptych.bench.steps import Arrays, Steps, torch_operations

PARTS = ("recurrent body", "output layer")
"""Forward and backward of the recurrent layers alone, masks included; and of the output layer with
its loss."""
PLAIN = "plain torch"


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

    @contextlib.contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Context in which no mask is drawn."""
        before = self.rate, self.body.dropout
        self.rate = self.body.dropout = 0.0
        try:
            yield
        finally:
            self.rate, self.body.dropout = before

    def loss(self, batch: Any) -> Tensor:
        return self.error(self.layers(self.embedding(batch.x)), batch.y) / batch.y.shape[1]


def plain_steps(case: Case, device: str = "cpu") -> Steps:
    """The plain module with the batch and the recipe of a case; it starts from a zero state.

    It draws other masks than the panels, so its values are those without dropout.
    """
    model = Plain(case.config).to(device, getattr(torch, case.dtype))
    right = case.pair.right(case.config, KEY, dtype=case.dtype, device=device)
    _copy_weights(right, model)
    batch = to_tensors(case.batch(), torch.device(device), track=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)

    def update() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), case.recipe.clip or math.inf)
        optimizer.step()

    def values() -> tuple[Arrays, Arrays]:
        model.zero_grad(set_to_none=True)
        with model.without_dropout():
            total = model.loss(batch)
        total.backward()
        names = _names(model, right)
        gradients = {names[name]: array for name, array in gradients_of(model).items()}
        return {"total": to_numpy(total)}, gradients

    operations = torch_operations(model, lambda: model.loss(batch), update)
    return Steps(operations, values)


def _names(plain: nn.Module, right: nn.Module) -> dict[str, str]:
    """The right panel's name of each parameter of the plain module."""
    names = {"body": "lstm" if hasattr(right, "lstm") else "rnn", "output": "decoder"}
    result = {}
    for name, _ in plain.named_parameters():
        first, _, rest = name.partition(".")
        result[name] = f"{names.get(first, first)}.{rest}"
    return result


@torch.no_grad()
def _copy_weights(right: nn.Module, plain: nn.Module) -> None:
    state = dict(right.named_parameters())
    names = _names(plain, right)
    for name, parameter in plain.named_parameters():
        parameter.copy_(state[names[name]])


def part(case: Case, operation: str, backend: str, device: str) -> Callable[[], Any]:
    """Forward and backward of one of PARTS by one backend; every call draws new masks."""
    if backend == "numpy":
        return _left(case, operation)
    right = case.pair.right(case.config, KEY, dtype=case.dtype, device=device)
    batch = to_tensors(case.batch(), torch.device(device), track=False)
    if backend != PLAIN:
        return _right(right, batch, case.batch_size, operation)
    plain = Plain(case.config).to(device, getattr(torch, case.dtype))
    _copy_weights(right, plain)
    if operation == "recurrent body":
        x, inputs = _embedded(plain, batch)
        dy = plain.layers(x).detach()
        return TorchBackward(plain.body, lambda: plain.layers(x), dy, inputs=inputs)
    h = _hidden(plain, batch)
    return TorchBackward(plain.output, lambda: plain.error(h, batch.y), inputs=(h,))


def _left(case: Case, operation: str) -> Callable[[], Any]:
    model = case.pair.left(case.config, KEY, dtype=case.dtype)
    batch = case.batch()
    if operation == "recurrent body":
        body = _body(model)
        x = model.embedding(batch.x)[0] if hasattr(model, "embedding") else batch.x
        forward = lambda: body(x, batch.state, model.draw_noise(KEY, case.batch_size))  # noqa: E731
        dy = forward()[0][0]
        return NumpyBackward(body, forward, dy, *(None for _ in batch.state))
    h = _hidden(model, batch)
    dy = np.ones_like(model.decoder(h, batch.y)[0])
    return NumpyBackward(model.decoder, lambda: model.decoder(h, batch.y), dy)


def _right(model: Any, batch: Any, size: int, operation: str) -> Callable[[], Any]:
    if operation == "recurrent body":
        body = _body(model)
        x, inputs = _embedded(model, batch)
        forward = lambda: body(x, batch.state, model.draw_noise(KEY, size))[0]  # noqa: E731
        return TorchBackward(body, forward, forward().detach(), inputs=inputs)
    h = _hidden(model, batch)
    return TorchBackward(model.decoder, lambda: model.decoder(h, batch.y).sum(), inputs=(h,))


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
