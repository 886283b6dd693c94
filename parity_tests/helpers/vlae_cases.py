"""What the tests of the VLAE's parts share: pairs of layers and of nets, and what either gives."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from helpers.pixel_cases import small, tensors
from helpers.witnesses import filled
from torch import nn

from diptych import weights
from diptych.arrays import leaves, map_arrays, to_numpy
from diptych.parity.report import normwise
from model_specs.autoregressive.windows import Window
from model_specs.common.key import Key
from model_specs.vlae import VLAENoise
from numpy_ref.autoregressive import latents
from numpy_ref.autoregressive import masked_conv as left_masked
from numpy_ref.nn import random
from numpy_ref.nn import weight_norm as left_norm
from torch_impl.autoregressive import latents as right_latents
from torch_impl.autoregressive import masked_conv as right_masked
from torch_impl.nn import weight_norm as right_norm

PANELS = (left_norm, left_masked), (right_norm, right_masked)


def layer_class(panel: tuple[Any, ...], name: str) -> Any:
    """The class of that name in the files of one of PANELS."""
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
"""(class, arguments, shape of x); no size but 1 is used twice for things that could be confused."""

LATENTS = "gaussian", "af_prior", "iaf_posterior"


def twins(left: Any, right: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """Both with the same random parameters, none of them at its default; g's of either sign."""
    weights.transfer(filled(left, rng), right)
    return left, right


def make_layers(
    name: str, rng: np.random.Generator, dtype: str = "float64"
) -> tuple[Any, Any, np.ndarray]:
    """(left, right, x) of one of LAYERS."""
    kind, arguments, shape = LAYERS[name]
    made = (layer_class(panel, kind)(*arguments, dtype=dtype) for panel in PANELS)
    return *twins(*made, rng), rng.normal(size=shape).astype(dtype)


def call(layer: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    """The outputs of a layer of either panel, as arrays."""
    if isinstance(layer, nn.Module):
        outputs = layer(*map(torch.from_numpy, inputs))
    else:
        outputs, _ = layer(*inputs)
    return [to_numpy(array) for _, array in leaves(outputs)]


def results(layer: Any, inputs: tuple[np.ndarray, ...], cotangents: list[np.ndarray]) -> Any:
    """Outputs, gradients of the inputs and of the parameters, by name, of either panel."""
    layer.zero_grad()
    if isinstance(layer, nn.Module):
        read = [torch.from_numpy(x.copy()).requires_grad_() for x in inputs]
        outputs = [y for _, y in leaves(layer(*read))]
        torch.autograd.backward(outputs, [torch.from_numpy(dy) for dy in cotangents])
        gradients: Any = [x.grad for x in read]
        named = {name: p.grad for name, p in layer.named_parameters()}
    else:
        made, vjp = layer(*inputs)
        outputs, gradients = [y for _, y in leaves(made)], vjp(*cotangents)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        named = layer.gradients()
    result = {f"y{i}": y for i, y in enumerate(outputs)}
    result |= {f"dx{i}": dx for i, dx in enumerate(gradients)} | named
    return {name: None if a is None else to_numpy(a) for name, a in result.items()}


def errors(
    left: Any, right: Any, inputs: tuple[np.ndarray, ...], rng: np.random.Generator
) -> dict[str, float]:
    """Normwise errors of all that the left panel gives; where it gives None nothing is due."""
    outputs = call(copy.deepcopy(left), *inputs)  # a copy: a call may move a buffer
    # not of mean 0: a bias's gradient is one sum, which may cancel by chance
    cotangents = [np.asarray(0.5 + rng.normal(size=y.shape)) for y in outputs]
    ours, theirs = (results(side, inputs, cotangents) for side in (left, right))
    due = {name: array for name, array in ours.items() if array is not None}
    assert due.keys() <= theirs.keys() and dict(left.named_parameters()).keys() <= due.keys()
    for name, array in due.items():
        assert (array.shape, array.dtype) == (theirs[name].shape, theirs[name].dtype), name
    return {name: normwise(array, theirs[name]) for name, array in due.items()}


def assert_same_state(left: Any, right: Any) -> None:
    """Names, their order, layouts and dtypes; of what is learned and of what is kept."""
    ours, theirs = left.state_dict(), weights.to_arrays(right.state_dict())
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        assert (array.shape, array.dtype) == (theirs[name].shape, theirs[name].dtype), name
    assert [n for n, _ in left.named_parameters()] == [n for n, _ in right.named_parameters()]


def normalised_layers(model: Any) -> dict[str, Any]:
    """The weight-normalised layers of either panel, each once, under its first name."""
    kinds = left_norm.WeightNorm, right_norm.WeightNorm
    result: dict[int, tuple[str, Any]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, kinds):
            result.setdefault(id(layer), (name, layer))
    return dict(result.values())


def uses(model: Any, run: Callable[[], Any]) -> list[tuple[str, np.ndarray]]:
    """(name of the layer, its output) at each use of a weight-normalised layer in a run."""
    result: list[tuple[str, np.ndarray]] = []

    def watched(name: str, forward: Callable[..., Any], x: Any) -> Any:
        out = forward(x)
        result.append((name, to_numpy(out[0] if isinstance(x, np.ndarray) else out)))
        return out

    layers = normalised_layers(model)
    for name, layer in layers.items():
        layer.forward = functools.partial(watched, name, layer.forward)
    try:
        run()
    finally:
        for layer in layers.values():
            del layer.forward
    return result


def make_latents(kind: str, mean_only: bool = False, **changes: Any) -> tuple[Any, Any]:
    """Left and right with the same weights, large enough to matter."""
    config = small(latent=kind, flow_mean_only=mean_only, **changes)
    left = latents.make_latent(config, Key(3), np.dtype("float64"))
    right = right_latents.make_latent(config, Key(4), dtype=torch.float64, device="cpu")
    for name, parameter in left.named_parameters():
        draw = random.normal(Key(5).fold_in(name), parameter.data.shape)
        parameter.data += 0.8 * draw * draw.shape[-1] ** -0.5
    weights.transfer(left, right)
    return left, right


def draw(
    rng: np.random.Generator, count: int = 3, Z: int = 4, samples: int | None = None
) -> tuple[np.ndarray, ...]:
    """mu, logvar, z, eps, with z where eps puts it."""
    mu, logvar = rng.normal(size=(count, Z)), 0.7 * rng.normal(size=(count, Z))
    many = samples is not None
    eps = rng.normal(size=(count, samples, Z) if many else (count, Z))
    scale = np.exp(logvar / 2)
    z = mu[:, None] + scale[:, None] * eps if many else mu + scale * eps
    return mu, logvar, z, eps


def methods(latent: Any) -> tuple[Callable[..., Any], ...]:
    """(forward, kl_sampled, generate) of either panel, of arrays and to arrays."""
    if isinstance(latent, nn.Module):
        return tuple(map(_of_arrays, (latent, latent.kl_sampled, latent.generate)))
    return lambda *arrays: latent(*arrays)[0], latent.kl_sampled, latent.generate


def flow_of(latent: Any) -> tuple[Callable[..., Any], ...]:
    """z -> u and u -> z of a latent's flow, of either panel, of arrays and to arrays."""
    if isinstance(latent, nn.Module):
        there = _of_arrays(latent.flow)
        return lambda z: there(z)[0], _of_arrays(latent.flow.inverse)
    return lambda z: latent.flow(z)[0].eps, latent.flow.inverse


def _of_arrays(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arrays: map_arrays(to_numpy, method(*tensors(*arrays)))


def as_read(model: Any, x: np.ndarray, noise: VLAENoise) -> tuple[Any, VLAENoise]:
    """An image batch and its noise as this model's panel takes them."""
    if isinstance(model, nn.Module):
        return torch.from_numpy(x), VLAENoise(torch.from_numpy(noise.eps))
    return x, noise


def loss(model: Any, x: np.ndarray, noise: VLAENoise) -> Any:
    """The terms of either panel's loss."""
    result = model.loss(*as_read(model, x, noise))
    return result if isinstance(model, nn.Module) else result[0]
