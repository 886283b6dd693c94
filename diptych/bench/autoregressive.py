"""The parts of the variational lossy autoencoder, and sampling from it (`drawing`).

Parts have the sizes of the benchmarked config and batch: the masked convolution is a layer of the
PixelCNN, of type B; the gated block is the first of the gated PixelCNN; the flow is that of the
prior, over a vector or over maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

import numpy_ref.autoregressive.flow
import numpy_ref.autoregressive.gated_pixel_cnn
import numpy_ref.autoregressive.map_flow
import numpy_ref.autoregressive.pixel_cnn
import numpy_ref.probability.pixel_likelihoods
import torch_impl.autoregressive.flow
import torch_impl.autoregressive.gated_pixel_cnn
import torch_impl.autoregressive.map_flow
import torch_impl.autoregressive.pixel_cnn
import torch_impl.probability.pixel_likelihoods
from diptych import weights
from diptych.bench import drawing
from diptych.bench.case import KEY, Case
from diptych.bench.passes import NumpyBackward, TorchBackward
from model_specs.autoregressive.gated_layers import gated_reaches
from model_specs.autoregressive.kinds import MIXTURE, WITH_FLOW
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random
from numpy_ref.nn.init import normal
from numpy_ref.nn.module import Module, as_dtype


class Part(NamedTuple):
    """Constructors of a part in both panels, the shapes of its input examples, and its method."""

    left: Callable[..., Any]
    right: Callable[..., Any]
    input_shapes: Callable[[VLAEConfig], Sequence[tuple[int, ...]]]
    has: Callable[[VLAEConfig], bool]
    """True if a model of this config has the part"""
    method: str = "forward"
    reads_batch: bool = False
    """True if the batch is the last input of the method"""


def _masked(kind: Any) -> Callable[..., Any]:
    def make(c: VLAEConfig, **factory_kwargs: Any) -> Any:
        return kind(c.decoder_maps, c.decoder_maps, c.inner_window, "B", **factory_kwargs)

    return make


def _gated_block(kind: Any) -> Callable[..., Any]:
    def make(c: VLAEConfig, **factory_kwargs: Any) -> Any:
        _, reach, *_ = gated_reaches(c.window_width, c.window_rows, c.decoder_blocks)
        return kind(c.decoder_maps, c.maps_read, reach, **factory_kwargs)

    return make


def _likelihood(base: Any, likelihoods: Any) -> Callable[..., Any]:
    class Likelihood(base):
        """The likelihood of a config as a module without parameters."""

        def __init__(self, config: VLAEConfig) -> None:
            super().__init__()
            self.nll = likelihoods[config.likelihood](config).nll

    return lambda c, **factory_kwargs: Likelihood(c)


def _flow(kind: Any, kind_of_maps: Any) -> Callable[..., Any]:
    return lambda c, **kwargs: (kind_of_maps if c.latent_maps else kind)(c.flow, **kwargs)


def _step(kind: Any, kind_of_maps: Any) -> Callable[..., Any]:
    make = _flow(kind, kind_of_maps)
    return lambda c, **factory_kwargs: next(iter(make(c, **factory_kwargs).steps))


LEFT_FLOWS = (
    numpy_ref.autoregressive.flow.AutoregressiveFlow,
    numpy_ref.autoregressive.map_flow.MapFlow,
)
RIGHT_FLOWS = (
    torch_impl.autoregressive.flow.AutoregressiveFlow,
    torch_impl.autoregressive.map_flow.MapFlow,
)


def _maps(c: VLAEConfig) -> list[tuple[int, ...]]:
    return [(c.decoder_maps, c.height, c.width)]


def _stacks_and_maps(c: VLAEConfig) -> list[tuple[int, ...]]:
    return [*_maps(c), *_maps(c), (c.maps_read, c.height, c.width)]


def _params(c: VLAEConfig) -> list[tuple[int, ...]]:
    return [(c.outputs, c.height, c.width)]


def _code(c: VLAEConfig) -> list[tuple[int, ...]]:
    return [(c.code_dim,)]


def _is_masked(c: VLAEConfig) -> bool:
    return c.context in ("raster", "stacks")


def _has_flow(c: VLAEConfig) -> bool:
    return c.latent in WITH_FLOW


PARTS = {
    "masked convolution": Part(
        _masked(numpy_ref.autoregressive.pixel_cnn.MaskedConv2d),
        _masked(torch_impl.autoregressive.pixel_cnn.MaskedConv2d),
        _maps,
        _is_masked,
    ),
    "masked convolution, weight-normalised": Part(
        _masked(numpy_ref.autoregressive.pixel_cnn.WNMaskedConv2d),
        _masked(torch_impl.autoregressive.pixel_cnn.WNMaskedConv2d),
        _maps,
        _is_masked,
    ),
    "gated block": Part(
        _gated_block(numpy_ref.autoregressive.gated_pixel_cnn.GatedBlock),
        _gated_block(torch_impl.autoregressive.gated_pixel_cnn.GatedBlock),
        _stacks_and_maps,
        lambda c: c.context == "gated",
    ),
    "mixture of logistics": Part(
        _likelihood(Module, numpy_ref.probability.pixel_likelihoods.PIXEL_LIKELIHOODS),
        _likelihood(nn.Module, torch_impl.probability.pixel_likelihoods.PIXEL_LIKELIHOODS),
        _params,
        lambda c: c.likelihood == MIXTURE,
        "nll",
        reads_batch=True,
    ),
    "flow": Part(_flow(*LEFT_FLOWS), _flow(*RIGHT_FLOWS), _code, _has_flow, "log_prob"),
    "flow, one step": Part(_step(*LEFT_FLOWS), _step(*RIGHT_FLOWS), _code, _has_flow),
}
"""Parts that are timed forward and backward, with all gradients."""
OPERATIONS = (*PARTS, *drawing.OPERATIONS)


def has(config: VLAEConfig, operation: str) -> bool:
    """True if the operation of OPERATIONS is timed for a model of this config."""
    return PARTS[operation].has(config) if operation in PARTS else drawing.has(config, operation)


def part(case: Case, operation: str, backend: str, device: str) -> Callable[[], Any]:
    """One of OPERATIONS by one backend; parts and samplers are not compiled."""
    if operation in PARTS:
        return _part(PARTS[operation], case, backend, device)
    return drawing.draw(case, operation, backend, device)


def _part(part: Part, case: Case, backend: str, device: str) -> Callable[[], Any]:
    dtype = as_dtype(case.dtype)
    left = part.left(case.config, dtype=case.dtype)
    normal(left, KEY, std=0.05)
    inputs: list[np.ndarray] = []
    for i, shape in enumerate(part.input_shapes(case.config)):
        key = KEY.fold_in("x").fold_in(i) if i else KEY.fold_in("x")
        inputs.append(random.normal(key, (case.batch_size, *shape), dtype=dtype))
    batch = [case.batch()] if part.reads_batch else []
    left_forward = partial(getattr(left, part.method), *inputs, *batch)
    y, _ = left_forward()
    ys = y if isinstance(y, tuple) else (y,)
    key = KEY.fold_in("dy")
    dy = [random.normal(key.fold_in(i), y.shape, dtype=y.dtype) for i, y in enumerate(ys)]
    if backend == "numpy":
        return NumpyBackward(left, left_forward, *dy)
    right = part.right(case.config, dtype=case.dtype, device=device)
    weights.transfer(left, right)
    arrays = [torch.from_numpy(array).to(device) for array in (*inputs, *batch, *dy)]
    count = len(inputs)
    right_inputs, dy_right = arrays[:count], arrays[count + len(batch) :]
    forward = partial(getattr(right, part.method), *arrays[: count + len(batch)])
    return TorchBackward(right, forward, *dy_right, inputs=right_inputs)
