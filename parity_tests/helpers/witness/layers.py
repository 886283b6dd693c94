"""Cases for the layers and for the methods of the left panel that return `(y, vjp)`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from helpers.compare_image_layers import make_norms
from helpers.layers_with_same_weights import (
    LAYERS,
    draw_latents,
    make_latent_pair,
    make_layer_pair,
    with_same_weights,
)
from helpers.small_flows import make_flows, normal_draws
from helpers.small_map_flows import make_map_flows
from helpers.small_pixel_decoders import decoder_config, decoder_inputs, make_decoders
from helpers.small_recurrent_networks import make_config as recurrent_config
from helpers.small_recurrent_networks import make_layers
from helpers.small_vlaes import small_config
from helpers.witness.runs import Case
from torch import nn

import numpy_ref.mlp_vae as left_vae
import numpy_ref.recurrent.network as left_network
import numpy_ref.rnn
import torch_impl.mlp_vae as right_vae
import torch_impl.recurrent.network as right_network
import torch_impl.rnn
from diptych import pairs
from model_specs.autoregressive.windows import Window
from model_specs.common.effects import effective
from model_specs.mlp_vae import LIKELIHOODS, MLPVAEConfig
from numpy_ref import nn as left_nn
from numpy_ref.autoregressive import latents, pixel_cnn, resnet, stacked_pixel_cnn
from numpy_ref.probability import pixel_likelihoods
from torch_impl import nn as right_nn
from torch_impl.autoregressive import latents as right_latents
from torch_impl.autoregressive import pixel_cnn as right_pixel_cnn
from torch_impl.autoregressive import resnet as right_resnet
from torch_impl.autoregressive import stacked_pixel_cnn as right_stacked
from torch_impl.probability import pixel_likelihoods as right_likelihoods

N, L, D, H, Z = 2, 3, 5, 7, 11
RNG = np.random.default_rng(20261130)
CASES: dict[str, Case] = {}


def forward(module: Any, *arguments: Any, **options: Any) -> Any:
    return module(*arguments, **options)


def add(
    name: str, modules: tuple[Any, Any], *arguments: Any, method: str = "", **options: Any
) -> None:
    """Add a case for a module of both panels, or for one of its methods."""
    assert name not in CASES, name
    sides = (_method(type(m), method) if method else forward for m in modules)
    left, right = (functools.partial(side, **options) for side in sides)
    CASES[name] = Case(left, right, arguments, modules)


def _method(kind: type, name: str) -> Any:
    return getattr(kind, name)


def pair(left: Any, right: Any) -> tuple[Any, Any]:
    """Both modules, with the same random weights."""
    return with_same_weights(left, right, RNG)


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return scale * RNG.normal(size=shape)


# nn

add("Linear", pair(left_nn.Linear(D, H), right_nn.Linear(D, H)), normal(N, L, D))
add(
    "Embedding", pair(left_nn.Embedding(H, D), right_nn.Embedding(H, D)), RNG.integers(0, H, (L, N))
)
for _name in ("ReLU", "ELU", "Tanh"):
    add(_name, (getattr(left_nn, _name)(), getattr(nn, _name)()), normal(N, H))
for _name, _shape in (("Conv2d", (N, 3, 5, 7)), ("ConvTranspose2d", (N, 3, 4, 3))):
    for _point, _bias in (("", True), (", no bias", False)):
        _sizes: Any = (3, 2, (3, 2), (2, 1), 1)
        _layers = (getattr(panel, _name)(*_sizes, bias=_bias) for panel in (left_nn, right_nn))
        add(_name + _point, pair(*_layers), normal(*_shape))
add("BatchNorm2d", make_norms(RNG), normal(2, 3, 5, 7))
_norms = make_norms(RNG)
add("BatchNorm2d in evaluation", (_norms[0].eval(), _norms[1].eval()), normal(2, 3, 5, 7))
_net = left_nn.Sequential(left_nn.Linear(D, H), left_nn.Tanh(), left_nn.Linear(H, L))
_right_net = nn.Sequential(right_nn.Linear(D, H), nn.Tanh(), right_nn.Linear(H, L))
add("Sequential", pair(_net, _right_net), normal(N, D))
for _name in LAYERS:
    *_modules, _x = make_layer_pair(_name, RNG)
    add(f"weight-normalised {_name}", tuple(_modules), _x)

# probability: likelihoods and posteriors

for _name in LIKELIHOODS:
    _config = MLPVAEConfig(**effective(MLPVAEConfig, {"gaussian_std": 1.3}, {"likelihood": _name}))
    _sides = left_vae.make_likelihood(_config), right_vae.make_likelihood(_config)
    _logits = normal(N, L, _config.outputs * D)
    add(f"nll of {_name}", _sides, _logits, RNG.random((N, D)), method="nll")
_config = decoder_config("none", height=3, width=4, components=2)
_functions = (p.MixturePixels(_config).nll for p in (pixel_likelihoods, right_likelihoods))
_levels = RNG.integers(0, 256, (N, *_config.example_shape)) / 255
CASES["nll of a mixture"] = Case(*_functions, (normal(N, _config.outputs, 3, 4), _levels))
_images = pairs.find("conv_vae[gaussian_learned]")
_functions = (side(_images[1]).mean for side in (_images[0].left, _images[0].right))
CASES["mean of conv_vae, gaussian_learned"] = Case(*_functions, (normal(N, 4, L, D),))
for _name in left_vae.POSTERIORS:
    _posteriors = pair(left_vae.POSTERIORS[_name](H, Z), right_vae.POSTERIORS[_name](H, Z))
    add(f"{_name} posterior", _posteriors, normal(N, H))
    _mu, _scale, _eps = normal(N, Z), normal(N, Z), normal(N, L, Z)
    if _name == "deterministic":  # its scale is the constant 0, and a point has no density
        continue
    add(f"{_name} reparameterize", _posteriors, _mu, _scale, _eps, method="reparameterize")
    add(f"{_name} kl", _posteriors, _mu, _scale, method="kl")
    add(f"{_name} kl_sampled", _posteriors, _scale, normal(N, L, Z), _eps, method="kl_sampled")


def _of_mu(method: str, right: bool, module: Any, mu: Any) -> Any:
    """A method of the deterministic posterior as a function of mu."""
    zeros = (np if isinstance(mu, np.ndarray) else torch).zeros_like(mu)
    rest = (zeros, zeros[:, None]) if method == "reparameterize" else (zeros,)
    result = getattr(module, method)(mu, *rest)
    return result if right else (result[0], lambda dy: result[1](dy)[0])


_sides = pair(left_vae.DeterministicPosterior(H, Z), right_vae.DeterministicPosterior(H, Z))
for _name in ("reparameterize", "kl"):
    _functions = (functools.partial(_of_mu, _name, right) for right in (False, True))
    CASES[f"deterministic {_name}"] = Case(*_functions, (normal(N, Z),), _sides)

# autoregressive

for _mean_only in (True, False):
    _kind = "mean-only" if _mean_only else "affine"
    add(f"flow, {_kind}", make_flows(mean_only=_mean_only), normal_draws(3, 7))
    add(f"flow over maps, {_kind}", make_map_flows(mean_only=_mean_only), normal_draws(3, 12))
add("log_prob of a flow", make_flows(), normal_draws(3, 7), method="log_prob")
for _name in ("gaussian", "af_prior", "iaf_posterior"):
    add(f"latent {_name}", make_latent_pair(_name), *draw_latents(RNG))
_kl = RNG.random((N, D))
for _name, _free in (("TotalFreeBits", 0.5), ("LatentFreeBits", 2.5), ("SoftFreeBits", 0.5)):
    _modules = getattr(latents, _name)(_free), getattr(right_latents, _name)(_free)
    if _name == "SoftFreeBits":
        _modules[0].gamma.data[...] = _modules[1].gamma.data[...] = 0.37
    add(_name, _modules, _kl)
add("NoFreeBits", (latents.NoFreeBits(), right_latents.NoFreeBits()), _kl)
_masked: Any = (3, 2, Window.raster(3), "A", 1)
add(
    "MaskedConv2d",
    pair(pixel_cnn.MaskedConv2d(*_masked), right_pixel_cnn.MaskedConv2d(*_masked)),
    normal(N, 3, 5, 4),
)
for _type in "AB":
    _stacked: Any = (3, 2, 3, _type, 1)
    _layers = stacked_pixel_cnn.StackedConv2d(*_stacked), right_stacked.StackedConv2d(*_stacked)
    add(f"StackedConv2d {_type}", pair(*_layers), normal(N, 3, 5, 4), normal(N, 3, 5, 4))
for _name in ("4 x 2", "1 x 1"):
    for _choice, _latent in (("all", "gaussian"), ("grey", "none")):
        _fields = {"context_channels": _choice, "latent": _latent, "height": 3, "width": 4}
        _config = decoder_config(f"gated {_name}", **_fields)
        _point = f"GatedPixelCNN {_name}, {_choice}, latent {_latent}"
        _decoders = make_decoders(_config, RNG)
        add(_point, (_decoders["numpy"], _decoders["torch"]), *decoder_inputs(_config, RNG, N))
_blocks: Any = {"flat_block": (3,), "down_block": (3, 2), "up_block": (3, 2, (7, 6))}
for _name, _sizes in _blocks.items():
    _layers = getattr(resnet, _name)(*_sizes), getattr(right_resnet, _name)(*_sizes)
    add(_name, pair(*_layers), normal(N, 3, 4, 3))
_config = small_config(latent_maps=2, strides=2, maps=2)
_networks = zip(resnet.make_networks(_config), right_resnet.make_networks(_config), strict=True)
for (_left, _right), _shape in zip(_networks, (_config.example_shape, (8,)), strict=True):
    add(type(_left).__name__, pair(_left, _right), normal(N, *_shape))

# recurrent

_mask = RNG.random((L, N, D)) < 0.6
for _point, _m in (("", _mask), ("of one mask", _mask[:1]), ("without a mask", None)):
    _layers = left_network.Dropout(0.3), right_network.Dropout(0.3)
    add(f"Dropout {_point}".strip(), _layers, normal(L, N, D), _m)
for _cell in ("rnn", "lstm"):
    for _scheme in ("none", "variational_recurrent"):
        _config = recurrent_config(_cell, scheme=_scheme, rate=0.3, num_layers=2, seq_len=3)
        *_modules, _arguments = make_layers(_cell, _config, size=2)
        add(f"{_cell} layers, {_scheme}", tuple(_modules), *_arguments)
_outputs = left_network.SoftmaxOutput(H, D), right_network.SoftmaxOutput(H, D)
add("SoftmaxOutput", pair(*_outputs), normal(L, N, H), RNG.integers(0, D, (L, N)))
_outputs = numpy_ref.rnn.SquaredErrorOutput(H, D), torch_impl.rnn.SquaredErrorOutput(H, D)
add("SquaredErrorOutput", pair(*_outputs), normal(L, N, H), normal(L, N, D))
