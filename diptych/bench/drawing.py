"""Sampling from the variational lossy autoencoder: codes from the prior, then pixels in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from diptych.bench import clock
from diptych.bench.case import KEY, Case
from model_specs.autoregressive.kinds import BERNOULLI, WITH_FLOW
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random
from torch_impl.nn import random as right_random

STRIDE = 11
"""Step from the pixel of one full pass to the next; coprime to H W, so that all are drawn."""
INVERSE = "flow, inverse"
FEW, MANY = 16, 64
"""Images that are sampled at once: few of the 256 levels, or many of 0 and 1."""


def sampling(count: int) -> str:
    """The operation that samples `count` images."""
    return f"sampling, {count} images"


def naive(count: int) -> str:
    """The operation that draws one pixel of `count` images: a step of a loop without a cache."""
    return f"sampling, {count} images, one pixel by a full pass"


DRAWS = (sampling(MANY), naive(MANY), sampling(FEW), naive(FEW))
"""Operations that draw pixels."""
OPERATIONS = (INVERSE, *DRAWS)


def images(config: VLAEConfig) -> int:
    """The number of images that are sampled at once."""
    return MANY if config.likelihood == BERNOULLI else FEW


def has(config: VLAEConfig, operation: str) -> bool:
    """True if the operation of OPERATIONS is timed for this config."""
    if operation == INVERSE:
        return config.latent in WITH_FLOW
    return operation in (sampling(images(config)), naive(images(config)))


def draw(case: Case, operation: str, backend: str, device: str) -> Callable[[], Any]:
    """One of OPERATIONS by one backend."""
    make = _inverse if operation == INVERSE else _sampling
    if operation in (naive(MANY), naive(FEW)):
        make = _naive
    if backend == "numpy":
        return make(case.pair.left(case.config, KEY, dtype=case.dtype), case.batch_size)
    right = case.pair.right(case.config, KEY, dtype=case.dtype, device=device)
    return _without_gradients(make(right, case.batch_size), device)


def _without_gradients(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    def sample() -> Any:
        with torch.no_grad():
            result = run()
        clock.wait(torch.device(device))
        return result

    return sample


def _inverse(model: Any, count: int) -> Callable[[], Any]:
    """Draw a code from the prior for each example of a batch."""
    eps = model.draw_noise(KEY, count).eps
    return lambda: model.latent.flow.inverse(eps)


def _sampling(model: Any, count: int) -> Callable[[], Any]:
    return lambda: model.sample(KEY, images(model.config), mean=False)


def _naive(model: Any, count: int) -> Callable[[], Any]:
    """Draw one pixel of the images of `_sampling` by a full forward pass of the pixel decoder.

    Each call draws another pixel and returns (its index, its values (N, C)). Raises: AssertionError
    if the values differ from those of `_sampling`: both operations must draw the same images.
    """
    x, maps, u = _sample_and_inputs(model)
    on_right = isinstance(model, nn.Module)
    N, C, H, W = x.shape
    numbers = itertools.count(step=STRIDE)

    def run() -> tuple[int, Any]:
        pixel = next(numbers) % (H * W)
        i, j = divmod(pixel, W)
        previous = 0 * x
        previous.reshape(N, C, -1)[:, :, :pixel] = x.reshape(N, C, -1)[:, :, :pixel]
        params = model.pixels(previous, maps)
        at_pixel = (params if on_right else params[0])[:, :, i, j]
        values, _ = model.likelihood.draw(at_pixel, u[:, :, i, j], mean=False)
        if (values != x[:, :, i, j]).any():
            raise AssertionError(f"pixel {pixel}: a full pass draws other values than sample")
        return pixel, values

    return run


@torch.no_grad()
def _sample_and_inputs(model: Any) -> tuple[Any, Any, Any]:
    """Return the images of `_sampling`, and the context maps and uniforms they are drawn from."""
    x: Any = _sampling(model, 0)()
    on_right = isinstance(model, nn.Module)
    options = {"dtype": model.dtype} | ({"device": model.device} if on_right else {})
    source: Any = right_random if on_right else random
    eps = source.normal(KEY.fold_in("z"), (len(x), model.code_dim), **options)
    maps = model.decoder(model.latent.generate(eps))
    shape = len(x), model.config.draws, *x.shape[2:]
    u = source.uniform(KEY.fold_in("x"), shape, **options)
    return x, maps if on_right else maps[0], u
