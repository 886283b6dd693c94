"""The parts of the variational lossy autoencoder, and sampling from it.

Parts have the sizes of the benchmarked config and batch: the masked convolution is a layer of the
PixelCNN, of type B; the flow is that of the prior.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

import numpy_ref.autoregressive.flow
import numpy_ref.autoregressive.pixel_cnn
import torch_impl.autoregressive.flow
import torch_impl.autoregressive.pixel_cnn
from diptych import weights
from diptych.bench import clock
from diptych.bench.case import KEY, Case
from diptych.bench.passes import NumpyBackward, TorchBackward
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random
from numpy_ref.nn.functional import sigmoid
from numpy_ref.nn.init import normal
from numpy_ref.nn.module import as_dtype
from torch_impl.nn import random as right_random

IMAGES = 64
"""Images that are sampled at once."""
STRIDE = 11
"""Step from the pixel of one full pass to the next; coprime to H W, so that all are drawn."""


class Part(NamedTuple):
    """Constructors of a part in both panels, the shape of an input example, the method to time."""

    left: Callable[..., Any]
    right: Callable[..., Any]
    input_shape: Callable[[VLAEConfig], tuple[int, ...]]
    method: str = "forward"


def _masked(kind: Any) -> Callable[..., Any]:
    def make(c: VLAEConfig, **factory_kwargs: Any) -> Any:
        return kind(c.decoder_maps, c.decoder_maps, c.inner_window, "B", **factory_kwargs)

    return make


def _flow(kind: Any) -> Callable[..., Any]:
    return lambda c, **factory_kwargs: kind(c.flow, **factory_kwargs)


def _step(kind: Any) -> Callable[..., Any]:
    return lambda c, **factory_kwargs: next(iter(kind(c.flow, **factory_kwargs).steps))


def _maps(c: VLAEConfig) -> tuple[int, ...]:
    return c.decoder_maps, c.height, c.width


def _code(c: VLAEConfig) -> tuple[int, ...]:
    return (c.latent_dim,)


PARTS = {
    "masked convolution": Part(
        _masked(numpy_ref.autoregressive.pixel_cnn.MaskedConv2d),
        _masked(torch_impl.autoregressive.pixel_cnn.MaskedConv2d),
        _maps,
    ),
    "masked convolution, weight-normalised": Part(
        _masked(numpy_ref.autoregressive.pixel_cnn.WNMaskedConv2d),
        _masked(torch_impl.autoregressive.pixel_cnn.WNMaskedConv2d),
        _maps,
    ),
    "flow": Part(
        _flow(numpy_ref.autoregressive.flow.AutoregressiveFlow),
        _flow(torch_impl.autoregressive.flow.AutoregressiveFlow),
        _code,
        "log_prob",
    ),
    "flow, one step": Part(
        _step(numpy_ref.autoregressive.flow.AutoregressiveFlow),
        _step(torch_impl.autoregressive.flow.AutoregressiveFlow),
        _code,
    ),
}
"""Parts that are timed forward and backward, with all gradients."""
INVERSE = "flow, inverse"
SAMPLING = f"sampling, {IMAGES} images"
NAIVE = f"sampling, {IMAGES} images, one pixel by a full pass"
"""One step of a sampling loop without a cache."""
DRAWS = (SAMPLING, NAIVE)
"""Parts that draw pixels."""
OPERATIONS = (*PARTS, INVERSE, *DRAWS)


def part(case: Case, operation: str, backend: str, device: str) -> Callable[[], Any]:
    """One of OPERATIONS by one backend; parts and samplers are not compiled."""
    if operation in PARTS:
        return _part(PARTS[operation], case, backend, device)
    draw = {INVERSE: _inverse, SAMPLING: _sampling, NAIVE: _naive}[operation]
    if backend == "numpy":
        return draw(case.pair.left(case.config, KEY, dtype=case.dtype), case.batch_size)
    right = case.pair.right(case.config, KEY, dtype=case.dtype, device=device)
    return _without_gradients(draw(right, case.batch_size), device)


def _part(part: Part, case: Case, backend: str, device: str) -> Callable[[], Any]:
    dtype = as_dtype(case.dtype)
    left = part.left(case.config, dtype=case.dtype)
    normal(left, KEY, std=0.05)
    shape = (case.batch_size, *part.input_shape(case.config))
    x = random.normal(KEY.fold_in("x"), shape, dtype=dtype)
    left_forward = partial(getattr(left, part.method), x)
    y, _ = left_forward()
    ys = y if isinstance(y, tuple) else (y,)
    key = KEY.fold_in("dy")
    dy = [random.normal(key.fold_in(i), y.shape, dtype=y.dtype) for i, y in enumerate(ys)]
    if backend == "numpy":
        return NumpyBackward(left, left_forward, *dy)
    right = part.right(case.config, dtype=case.dtype, device=device)
    weights.transfer(left, right)
    x_right, *dy_right = (torch.from_numpy(array).to(device) for array in (x, *dy))
    return TorchBackward(
        right, partial(getattr(right, part.method), x_right), *dy_right, inputs=(x_right,)
    )


def _without_gradients(draw: Callable[[], Any], device: str) -> Callable[[], Any]:
    def run() -> Any:
        with torch.no_grad():
            sample = draw()
        clock.wait(torch.device(device))
        return sample

    return run


def _inverse(model: Any, count: int) -> Callable[[], Any]:
    """Draw a code from the prior for each example of a batch."""
    eps = model.draw_noise(KEY, count).eps
    return lambda: model.latent.flow.inverse(eps)


def _sampling(model: Any, count: int) -> Callable[[], Any]:
    return lambda: model.sample(KEY, IMAGES, mean=False)


def _naive(model: Any, count: int) -> Callable[[], Any]:
    """Draw one pixel of the images of `_sampling` by a full forward pass of the PixelCNN.

    Each call draws another pixel and returns (its index, its values). Raises: AssertionError if the
    values differ from those of `_sampling`: both operations must draw the same images.
    """
    x, maps, u = _sample_and_inputs(model)
    on_right = isinstance(model, nn.Module)
    N, _, H, W = x.shape
    numbers = itertools.count(step=STRIDE)

    def run() -> tuple[int, Any]:
        pixel = next(numbers) % (H * W)
        previous = 0 * x
        previous.reshape(N, -1)[:, :pixel] = x.reshape(N, -1)[:, :pixel]
        logits = model.pixels(previous, maps)
        p = torch.sigmoid(logits) if on_right else sigmoid(logits[0])
        values = (u < p).reshape(N, -1)[:, pixel]
        if (values != x.reshape(N, -1)[:, pixel]).any():
            raise AssertionError(f"pixel {pixel}: a full pass draws other values than sample")
        return pixel, values

    return run


@torch.no_grad()
def _sample_and_inputs(model: Any) -> tuple[Any, Any, Any]:
    """Return the images of `_sampling`, and the context maps and uniforms they are drawn from."""
    x: Any = _sampling(model, IMAGES)()
    on_right = isinstance(model, nn.Module)
    if on_right:
        device = model.device
        eps: Any = right_random.normal(
            KEY.fold_in("z"), (IMAGES, model.code_dim), dtype=model.dtype, device=device
        )
        maps = model.decoder(model.latent.generate(eps))
        u = right_random.uniform(KEY.fold_in("x"), x.shape, dtype=model.dtype, device=device)
        return x, maps, u
    eps = random.normal(KEY.fold_in("z"), (IMAGES, model.code_dim), dtype=model.dtype)
    maps, _ = model.decoder(model.latent.generate(eps))
    return x, maps, random.uniform(KEY.fold_in("x"), x.shape, dtype=model.dtype)
