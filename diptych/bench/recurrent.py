"""The parts of the RNN and the LSTM, also in plain torch. Every call draws new dropout masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.arrays import to_tensors
from diptych.bench.case import KEY, Case
from diptych.bench.passes import NumpyBackward, TorchBackward
from diptych.bench.plain import PlainRecurrent, copy_weights
from diptych.bench.plain_steps import NAME

PARTS = ("recurrent body", "output layer")
"""Forward and backward of the recurrent layers alone, masks included; and of the output layer with
its loss."""


def part(case: Case, operation: str, backend: str, device: str) -> Callable[[], Any]:
    """Forward and backward of one of PARTS by one backend; every call draws new masks."""
    if backend == "numpy":
        return _left(case, operation)
    right = case.pair.right(case.config, KEY, dtype=case.dtype, device=device)
    batch = to_tensors(case.batch(), torch.device(device), track=False)
    if backend != NAME:
        return _right(right, batch, case.batch_size, operation)
    plain = PlainRecurrent(case.config).to(device, getattr(torch, case.dtype))
    copy_weights(right, plain)
    if operation == "recurrent body":
        x, inputs = _embedded(plain, batch)
        dy = plain.layers(x)[0].detach()
        return TorchBackward(plain.body, lambda: plain.layers(x)[0], dy, inputs=inputs)
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
