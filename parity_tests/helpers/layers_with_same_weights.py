"""Layers and latents of both panels with the same weights, for the tests of the VLAE's parts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from helpers.random_weights import randomized
from helpers.run_layers import tensors
from helpers.small_vlaes import small_config
from torch import nn

from diptych import weights
from diptych.arrays import map_arrays, to_numpy
from model_specs.autoregressive.windows import Window
from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig, VLAENoise
from numpy_ref.autoregressive import latents
from numpy_ref.autoregressive import pixel_cnn as left_masked
from numpy_ref.nn import random
from numpy_ref.nn import weight_norm as left_norm
from torch_impl.autoregressive import latents as right_latents
from torch_impl.autoregressive import pixel_cnn as right_masked
from torch_impl.nn import weight_norm as right_norm

PANELS = (left_norm, left_masked), (right_norm, right_masked)
"""The files of each panel in which the weight-normalised layers stand."""


def layer_class(panel: tuple[Any, ...], name: str) -> Any:
    """The class called `name` in the files of one of PANELS."""
    return next(getattr(file, name) for file in panel if hasattr(file, name))


LAYERS: dict[str, tuple[str, tuple[Any, ...], tuple[int, ...]]] = {
    "linear": ("WNLinear", (5, 3), (4, 5)),
    "linear of one output": ("WNLinear", (7, 1), (3, 7)),
    "conv": ("WNConv2d", (3, 2, (3, 2), (2, 1), (1, 0)), (4, 3, 5, 7)),
    "conv 1 x 1": ("WNConv2d", (2, 5, 1), (3, 2, 3, 1)),
    "conv 3 x 3": ("WNConv2d", (1, 4, 3, 2, 1), (2, 1, 6, 3)),
    "transposed": ("WNConvTranspose2d", (2, 3, 3, 2, 1, (1, 0)), (3, 2, 3, 4)),
    "transposed, one way": ("WNConvTranspose2d", (5, 2, (2, 3), 1, 0), (2, 5, 1, 4)),
    "masked A": ("WNMaskedConv2d", (5, 4, Window.raster(3), "A", 2), (3, 5, 5, 7)),
    "masked B": ("WNMaskedConv2d", (3, 2, Window.raster((3, 5)), "B"), (2, 3, 4, 3)),
    "masked, local": ("WNMaskedConv2d", (2, 6, Window.local(4, 2), "A", 1), (3, 2, 5, 6)),
}
"""(class, arguments, shape of x). No size but 1 stands for two things that could be confused."""

LATENTS = "gaussian", "af_prior", "iaf_posterior"


def with_same_weights(left: Any, right: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """(left, right) with the same random parameters, none at its default; g has either sign."""
    weights.transfer(randomized(left, rng), right)
    return left, right


def make_layer_pair(
    name: str, rng: np.random.Generator, dtype: str = "float64"
) -> tuple[Any, Any, np.ndarray]:
    """(left, right, x) for one entry of LAYERS."""
    kind, arguments, shape = LAYERS[name]
    layers = (layer_class(panel, kind)(*arguments, dtype=dtype) for panel in PANELS)
    return *with_same_weights(*layers, rng), rng.normal(size=shape).astype(dtype)


def assert_same_state(left: Any, right: Any) -> None:
    """Assert equal names in the same order, shapes and dtypes of parameters and buffers."""
    ours, theirs = left.state_dict(), weights.to_arrays(right.state_dict())
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        assert (array.shape, array.dtype) == (theirs[name].shape, theirs[name].dtype), name
    assert [n for n, _ in left.named_parameters()] == [n for n, _ in right.named_parameters()]


def normalised_layers(model: Any) -> dict[str, Any]:
    """The weight-normalised layers of a model, each once, under its first name."""
    kinds = left_norm.WeightNorm, right_norm.WeightNorm
    result: dict[int, tuple[str, Any]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, kinds):
            result.setdefault(id(layer), (name, layer))
    return dict(result.values())


def record_layer_outputs(model: Any, run: Callable[[], Any]) -> list[tuple[str, np.ndarray]]:
    """(name, output) of each call of a weight-normalised layer during `run`, in order."""
    result: list[tuple[str, np.ndarray]] = []

    def recorded(name: str, forward: Callable[..., Any], x: Any) -> Any:
        out = forward(x)
        result.append((name, to_numpy(out[0] if isinstance(x, np.ndarray) else out)))
        return out

    layers = normalised_layers(model)
    for name, layer in layers.items():
        layer.forward = functools.partial(recorded, name, layer.forward)
    try:
        run()
    finally:
        for layer in layers.values():
            del layer.forward
    return result


def make_latent_pair(kind: str, mean_only: bool = False, **changes: Any) -> tuple[Any, Any]:
    """(left, right) latents with the same weights, large enough to change z noticeably."""
    affine = {"flow_mean_only": mean_only}
    config = small_config(**effective(VLAEConfig, affine, {"latent": kind} | changes))
    left = latents.make_latent(config, Key(3), np.dtype("float64"))
    right = right_latents.make_latent(config, Key(4), dtype=torch.float64, device="cpu")
    for name, parameter in left.named_parameters():
        noise = random.normal(Key(5).fold_in(name), parameter.data.shape)
        inputs = noise[0].size if noise.ndim > 2 else noise.shape[-1]  # of a kernel, of a layer
        parameter.data += 0.8 * noise * inputs**-0.5
    weights.transfer(left, right)
    return left, right


def draw_latents(
    rng: np.random.Generator, count: int = 3, Z: int = 4, samples: int | None = None
) -> tuple[np.ndarray, ...]:
    """Random mu, logvar, z and eps, with z = mu + exp(logvar / 2) eps."""
    mu, logvar = rng.normal(size=(count, Z)), 0.7 * rng.normal(size=(count, Z))
    std = np.exp(logvar / 2)
    if samples is None:
        eps = rng.normal(size=(count, Z))
        return mu, logvar, mu + std * eps, eps
    eps = rng.normal(size=(count, samples, Z))
    return mu, logvar, mu[:, None] + std[:, None] * eps, eps


def latent_methods(latent: Any) -> tuple[Callable[..., Any], ...]:
    """(forward, kl_sampled, generate) of a latent of either panel, as functions of arrays."""
    if isinstance(latent, nn.Module):
        return tuple(map(_of_arrays, (latent, latent.kl_sampled, latent.generate)))
    return lambda *arrays: latent(*arrays)[0], latent.kl_sampled, latent.generate


def flow_functions(latent: Any) -> tuple[Callable[..., Any], ...]:
    """The flow z -> u of a latent of either panel and its inverse, as functions of arrays."""
    if isinstance(latent, nn.Module):
        flow = _of_arrays(latent.flow)
        return lambda z: flow(z)[0], _of_arrays(latent.flow.inverse)
    return lambda z: latent.flow(z)[0].eps, latent.flow.inverse


def _of_arrays(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arrays: map_arrays(to_numpy, method(*tensors(*arrays)))


def as_model_inputs(model: Any, x: np.ndarray, noise: VLAENoise) -> tuple[Any, VLAENoise]:
    """A batch of images and its noise as arrays or tensors, whichever the model takes."""
    if isinstance(model, nn.Module):
        return torch.from_numpy(x), VLAENoise(torch.from_numpy(noise.eps))
    return x, noise


def loss_terms(model: Any, x: np.ndarray, noise: VLAENoise) -> Any:
    """The loss terms of a model of either panel."""
    result = model.loss(*as_model_inputs(model, x, noise))
    return result if isinstance(model, nn.Module) else result[0]
