"""The variational lossy autoencoder: whole, by its parts, and how long a sample takes to draw.

Parts have the sizes of the config and the batch that are timed: a masked convolution is one of the
PixelCNN's, of type B; the flow is the prior's. Adamax takes the step, as in Chen et al. 2016.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import nn

import numpy_ref.autoregressive.flow
import numpy_ref.autoregressive.pixel_cnn
import numpy_ref.vlae
import torch_impl.autoregressive.flow
import torch_impl.autoregressive.pixel_cnn
import torch_impl.vlae
from diptych import weights
from diptych.bench import layer, whole
from diptych.bench.workload import Runs, Workload
from diptych.pairs.pair import Pair
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random
from numpy_ref.nn.functional import sigmoid
from numpy_ref.nn.init import normal
from numpy_ref.nn.module import as_dtype

KEY = Key(0).fold_in("bench")
IMAGES = 64
"""Drawn at once."""
STRIDE = 11
"""From the pixel that one full pass draws to that of the next, so that all have their turn."""


class Part(NamedTuple):
    """How to make a part on both panels, what it reads (N, ...), and which method is timed."""

    left: Callable[..., Any]
    right: Callable[..., Any]
    reads: Callable[[VLAEConfig], tuple[int, ...]]
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
"""Timed forward and backward, all gradients included."""
INVERSE = "flow, inverse"
SAMPLING = f"sampling, {IMAGES} images"
NAIVE = f"sampling, {IMAGES} images, one pixel by a full pass"
"""What a loop that keeps nothing does for every pixel."""
WORK = (*whole.WORK, *PARTS, INVERSE, SAMPLING, NAIVE)


def runs(
    pair: Pair,
    config: Any,
    batch_size: int,
    dtype: str,
    work: str,
    devices: list[str],
    compiled: bool,
) -> Runs:
    """One callable for each way; parts and samplers are not compiled."""
    if work in whole.WORK:
        given = pair, config, batch_size, dtype, work, devices, compiled
        return whole.runs(*given, optimizer="Adamax")
    if work in PARTS:
        return _part(PARTS[work], config, batch_size, dtype, devices)
    draw = {INVERSE: _inverse, SAMPLING: _sampling, NAIVE: _naive}[work]
    result = {"numpy": draw(pair.left(config, KEY, dtype=dtype), batch_size)}
    for device in devices:
        right = pair.right(config, KEY, dtype=dtype, device=device)
        result[f"torch {device}"] = _initialize_next(draw(right, batch_size), device)
    return result


def _part(part: Part, config: VLAEConfig, count: int, dtype: str, devices: list[str]) -> Runs:
    left = part.left(config, dtype=dtype)
    normal(left, KEY, std=0.05)
    x = random.normal(KEY.fold_in("x"), (count, *part.reads(config)), dtype=as_dtype(dtype))
    y, _ = getattr(left, part.method)(x)
    ys = y if isinstance(y, tuple) else (y,)
    key = KEY.fold_in("dy")
    dy = [random.normal(key.fold_in(i), y.shape, dtype=y.dtype) for i, y in enumerate(ys)]
    result = {"numpy": layer.left(left, x, *dy, method=part.method)}
    for device in devices:
        right = part.right(config, dtype=dtype, device=device)
        weights.transfer(left, right)
        there = (torch.from_numpy(array).to(device) for array in (x, *dy))
        result[f"torch {device}"] = layer.right(right, *there, method=part.method)
    return result


def _initialize_next(draw: Callable[[], Any], device: str) -> Callable[[], Any]:
    def run() -> Any:
        with torch.no_grad():
            drawn = draw()
        if device == "cuda":
            torch.cuda.synchronize()
        return drawn

    return run


def _inverse(model: Any, count: int) -> Callable[[], Any]:
    """Codes drawn from the prior, one for each example of a batch."""
    eps = model.draw_noise(KEY, count).eps
    return lambda: model.latent.flow.inverse(eps)


def _sampling(model: Any, count: int) -> Callable[[], Any]:
    return lambda: model.sample(KEY, IMAGES, mean=False)


def _naive(model: Any, count: int) -> Callable[[], Any]:
    """One pixel of the images that `_sampling` draws, by a forward pass of the PixelCNN; another in
    each call.

    Gives the pixel's index and what it is. Raises: AssertionError where `_sampling` differs by a
    bit, so that both are sure to be timed at the same work.
    """
    x, (maps, u) = _drawn(model)
    on_right = isinstance(model, nn.Module)
    N, _, H, W = x.shape
    numbers = itertools.count(step=STRIDE)

    def run() -> tuple[int, Any]:
        pixel = next(numbers) % (H * W)
        before = 0 * x
        before.reshape(N, -1)[:, :pixel] = x.reshape(N, -1)[:, :pixel]
        logits = model.pixels(before, maps)
        p = torch.sigmoid(logits) if on_right else sigmoid(logits[0])
        drawn = (u < p).reshape(N, -1)[:, pixel]
        if (drawn != x.reshape(N, -1)[:, pixel]).any():
            raise AssertionError(f"pixel {pixel}: a full pass draws another than sample")
        return pixel, drawn

    return run


def _drawn(model: Any) -> tuple[Any, tuple[Any, Any]]:
    """The images that `_sampling` draws, and the PixelCNN's maps and uniforms for them."""
    panel = torch_impl.vlae if isinstance(model, nn.Module) else numpy_ref.vlae
    arguments = []

    def recorded(decoder: Any, maps: Any, u: Any, progress: Any) -> Any:
        arguments.append((maps, u))
        return sample_pixels(decoder, maps, u, progress)

    sample_pixels = panel.sample_pixels
    with patch.object(panel, "sample_pixels", recorded):
        x = _sampling(model, IMAGES)()
    return x, arguments[0]


def times_naive(metrics: dict[str, Any], load: Workload, config: VLAEConfig) -> None:
    """Tell each way of sampling how much longer a full pass for every pixel would take."""
    sampling = replace(load, work=SAMPLING).name
    for way, result in metrics[sampling].items():
        naive = config.height * config.width * metrics[load.name][way]["ms"]
        result["times_naive"] = naive / result["ms"]
