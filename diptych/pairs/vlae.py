"""The VLAE: its variants for `diptych check`, its sizes, and how it takes images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import numpy_ref.autoregressive.ancestral
import numpy_ref.vlae
import torch_impl.autoregressive.ancestral
import torch_impl.vlae
from diptych.data import Data, Dataset
from diptych.pairs import autoencoders
from diptych.pairs.latent import Latent, Progress, value
from diptych.pairs.pair import Memory, Pair, Shape, Traits, ValueFunction, fitting
from model_specs.autoregressive.pixel_layers import KERNEL_SIZE
from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.common.levels import LEVELS
from model_specs.vlae import MIXTURE, VLAEConfig
from numpy_ref.nn import random

LEAST_MAPS = 16
"""torch may pad a layer of fewer feature maps to this number."""
SMALL: dict[str, Any] = {"maps": 8, "hidden_dim": 64, "latent_dim": 16}
SMALL |= {"flow_hidden_dim": 64, "flow_steps": 2, "flow_hidden_layers": 2, "decoder_maps": 8}

LARGEST_DRAWN = 64
"""Number of pixels up to which `diptych check` draws images."""
SAMPLERS: dict[type, Callable[..., Any]] = {
    numpy_ref.vlae.VLAE: numpy_ref.autoregressive.ancestral.sample_pixels,
    torch_impl.vlae.VLAE: torch_impl.autoregressive.ancestral.sample_pixels,
}
"""How the pixel decoder of each panel draws an image."""
LOCAL: dict[str, Any] = {"context": "local", "window_width": 4}
GATED: dict[str, Any] = {"context": "gated", "window_width": 4, "window_rows": 2}
GATED |= {"decoder_blocks": 3, "decoder_maps": 4}
RASTER = GATED | {"window_width": 0, "window_rows": 1}
LEVELLED: dict[str, Any] = {"likelihood": MIXTURE, "components": 2}
AFFINE: dict[str, Any] = {"flow_mean_only": False}
COLOUR: dict[str, Any] = LEVELLED | {"channels": 3}
MAPS: dict[str, Any] = {"latent_maps": 3, "strides": 2}
GATED_32: dict[str, Any] = {"height": 32, "width": 32, "channels": 3, "latent_maps": 8}
GATED_32 |= {"likelihood": MIXTURE, "components": 5, "strides": 2, "maps": 24, "context_maps": 8}
GATED_32 |= {"flow_steps": 2, "flow_hidden_dim": 32, "flow_hidden_layers": 2, "context": "gated"}
GATED_32 |= {"window_width": 5, "window_rows": 3, "decoder_maps": 24}
SQUARE = ["height", "width", "maps", "hidden_dim", "latent_dim", "flow_hidden_dim"]
SQUARE += ["context_maps", "decoder_maps"]


def _batch(config: VLAEConfig, key: Key, dtype: np.dtype, size: int) -> np.ndarray:
    u = random.uniform(key, (size, *config.example_shape))
    x = np.floor(LEVELS * u) / (LEVELS - 1) if config.likelihood == MIXTURE else u < 0.4
    return x.astype(dtype)


def _for_data(data: Data, overrides: Mapping[str, Any]) -> VLAEConfig:
    """Take the paper's sizes for images of 28 x 28 or more pixels, and smaller ones for others.

    Colour images have the mixture as likelihood.
    """
    if not isinstance(data, Dataset):
        raise ValueError(f"data: got {data.name}, vlae takes images")
    channels, height, width = data.image_shape
    sizes = {"channels": channels, "height": height, "width": width}
    requested = {name: overrides.get(name, size) for name, size in sizes.items()}
    fitting(SimpleNamespace(**requested), data, **sizes)
    defaults = {} if height * width >= 784 else dict(SMALL)
    if channels > 1:
        defaults["likelihood"] = MIXTURE
    return VLAEConfig(**sizes | effective(VLAEConfig, defaults, overrides))


def _to_batch(config: VLAEConfig, rows: np.ndarray, shape: Shape) -> np.ndarray:
    if config.likelihood == MIXTURE:
        autoencoders.check_levels(rows, "likelihood")
    elif ((rows > 0) & (rows < 1)).any():
        raise ValueError("data: got grey values, vlae takes 0 and 1: --binarize draws them")
    return rows.reshape(-1, *shape)


def _to_images(config: VLAEConfig, x: np.ndarray, shape: Shape) -> np.ndarray:
    return x


def _variants() -> dict[str, VLAEConfig]:
    odd: dict[str, Any] = {"height": 5, "width": 7, "maps": 3, "hidden_dim": 11, "latent_dim": 4}
    odd |= {"flow_steps": 2, "flow_hidden_dim": 9, "flow_hidden_layers": 2}
    odd |= {"context_maps": 2, "decoder_maps": 6, "masked_layers": 3, "free_bits": 0.001}
    changes: dict[str, dict[str, Any]] = {
        "": {},
        "gaussian,latent": {"latent": "gaussian", "free_bits_of": "latent"},
        "iaf_posterior,affine": AFFINE | {"latent": "iaf_posterior"},
        "unconditional": {"latent": "none", "tied": False},
        "unconditional,positions": {"latent": "none", "position_maps": 2},
        "factorised,soft": {"context": "none", "free_bits_of": "soft"},
        "local,none": LOCAL | {"free_bits_of": "none"},
        "stacks": {"context": "stacks", "tied": False},
        "gated": GATED | {"latent": "gaussian"},
        "levels": LEVELLED | {"channels": 1, "context": "stacks"},
        "colour": COLOUR | GATED | MAPS | AFFINE,
        "colour,grey": COLOUR | GATED | {"window_width": 5, "context_channels": "grey"},
        "colour,raster": COLOUR | RASTER | MAPS | AFFINE | {"latent": "iaf_posterior"},
        "colour,local": COLOUR | MAPS | LOCAL | {"latent": "gaussian", "strides": 1},
        "colour,factorised": COLOUR | MAPS | {"context": "none", "free_bits_of": "soft"},
        "square": dict.fromkeys(SQUARE, 6),
        "8x8": {"height": 8, "width": 8} | SMALL,
        "28x28": {"height": 28, "width": 28, "maps": 2, "masked_layers": 6},
    }
    return {
        name: VLAEConfig(**effective(VLAEConfig, odd, change)) for name, change in changes.items()
    }


def _traits(config: VLAEConfig) -> Traits:
    c = config
    z = f" of {c.latent_maps} maps" if c.latent_maps else f" of {c.latent_dim}"
    colour = "" if c.channels == 1 else f" x {c.channels}"
    grey = " in grey" if c.context_channels == "grey" else ""
    positions = f", {c.position_maps} maps of positions" if c.position_maps else ""
    latent = c.latent + (positions if c.latent == "none" else z)
    levels = LEVELS if c.likelihood == MIXTURE else 2
    return Traits(
        title=f"{c.height} x {c.width}{colour}, context {c.context_name}{grey}, latent {latent}",
        divisible="none" in (c.free_bits_of, c.latent),  # free bits are of the whole batch
        pixels_in_turn=0 if c.context == "none" else c.height * c.width,
        draws_reconstructions=True,
        uniform=math.prod(c.example_shape) * math.log(levels),
        latent=_latent(c),
        latent_maps=c.latent_maps,
        memory=_memory(c),
    )


def _latent(config: VLAEConfig) -> Latent | None:
    if not config.code_dim:
        return None
    symbol, flow = ("u" if config.latent == "iaf_posterior" else "z"), config.latent == "af_prior"
    return Latent(config.code_dim, _codes, _decoded, _generate, symbol, flow)


def _codes(model: Any, x: Any) -> Any:
    mu, logvar = value(model, model.encode(x))
    codes, _ = model.latent.kl_sampled(logvar, mu[:, None], 0 * mu[:, None])
    return codes[:, 0]


def _generate(model: Any, eps: Any) -> Any:
    return model.latent.generate(eps)


def _decoded(model: Any, codes: Any, key: Key, mean: bool, progress: Progress | None) -> Any:
    """Draw as `reconstruct` does, but every image by the uniform numbers of the first one."""
    c = model.config
    u: Any = random.uniform(key.fold_in("x"), (1, c.draws, c.height, c.width))
    u = np.repeat(u, len(codes), 0)
    u = u.astype(codes.dtype) if isinstance(codes, np.ndarray) else torch.from_numpy(u).to(codes)
    draw = partial(model.likelihood.draw, mean=mean)
    maps = value(model, model.decoder(codes))
    x, means = SAMPLERS[type(model)](model.pixels, maps, u, progress, draw)
    return means if mean else x


def _memory(config: VLAEConfig) -> Memory:
    c, pixels = config, config.height * config.width
    doubled = 2 * c.decoder_maps if c.context == "gated" else c.decoder_maps  # by concat_elu
    maps = max(doubled, c.maps, c.channels + c.maps_read, c.outputs, LEAST_MAPS)
    kH, kW = c.window.kernel_size
    first = kH * kW * (c.channels + c.maps_read)
    others = KERNEL_SIZE**2 * max(doubled, c.maps)
    return Memory(
        widest=max(pixels * maps, c.features, c.hidden_dim, c.flow_hidden_dim, c.code_dim),
        columns=max(first, others) * pixels,
        copies_weights=True,  # to mask and to normalise them
    )


def _values(config: VLAEConfig) -> dict[str, ValueFunction]:
    """The code of a sample and the bound; pixels are drawn in turn, so they are draws."""
    functions: dict[str, ValueFunction] = {
        "generate": lambda model, x, noise, key: model.latent.generate(noise.eps),
        "log_weight": autoencoders.log_weight,
    }
    if config.latent_maps and config.code_dim:
        functions["kl_of_maps"] = lambda model, x, noise, key: model.kl_of_maps(x, noise)
    return functions


def _draws(config: VLAEConfig) -> dict[str, ValueFunction]:
    """Pixels in turn: the probability of each depends on all pixels drawn before it.

    Only of small images, since each pixel takes a pass of its own.
    """
    if config.height * config.width > LARGEST_DRAWN:
        return {}
    return {
        "sample, drawn": autoencoders.sample(mean=False),
        "reconstruct": lambda model, x, noise, key: model.reconstruct(x, key, mean=True),
    }


PAIR = Pair(
    left=numpy_ref.vlae.VLAE,
    right=torch_impl.vlae.VLAE,
    variants=_variants(),
    batch=_batch,
    sizes={
        "28 x 28, Chen et al., batch 16": (VLAEConfig(), 16),
        "8 x 8, batch 64": (VLAEConfig(height=8, width=8, **SMALL), 64),
        "32 x 32 x 3, gated, batch 16": (VLAEConfig(**GATED_32), 16),
    },
    for_data=_for_data,
    data="binary_digits",
    to_batch=_to_batch,
    to_images=_to_images,
    traits=_traits,
    values=_values,
    draws=_draws,
)
