"""The VLAE: its variants for `diptych check`, its sizes, and how it takes images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

import numpy_ref.vlae
import torch_impl.vlae
from diptych.data import Data, Dataset
from diptych.pairs import autoencoders
from diptych.pairs.pair import Memory, Pair, Shape, Traits, ValueFunction, fitting
from model_specs.autoregressive.pixel_layers import KERNEL_SIZE
from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random

LEAST_MAPS = 16
"""torch may pad a layer of fewer feature maps to this number."""
SMALL: dict[str, Any] = {"maps": 8, "hidden_dim": 64, "latent_dim": 16}
SMALL |= {"flow_hidden_dim": 64, "flow_steps": 2, "flow_hidden_layers": 2, "decoder_maps": 8}

LARGEST_DRAWN = 64
"""Number of pixels up to which `diptych check` draws images."""
SQUARE = ["height", "width", "maps", "hidden_dim", "latent_dim", "flow_hidden_dim"]
SQUARE += ["context_maps", "decoder_maps"]


def _batch(config: VLAEConfig, key: Key, dtype: np.dtype, size: int) -> np.ndarray:
    u = random.uniform(key, (size, *config.example_shape))
    return (u < 0.4).astype(dtype)


def _for_data(data: Data, overrides: Mapping[str, Any]) -> VLAEConfig:
    """Take the paper's sizes for images of 28 x 28 or more pixels, and smaller ones for others."""
    if not isinstance(data, Dataset):
        raise ValueError(f"data: got {data.name}, vlae takes images")
    channels, height, width = data.image_shape
    if channels != 1:
        raise ValueError(f"data: got {data.name} of {channels} channels, vlae takes binary images")
    sizes = {"height": height, "width": width}
    fields = effective(VLAEConfig, {} if height * width >= 784 else SMALL, overrides)
    return fitting(VLAEConfig(**sizes | fields), data, **sizes)


def _to_batch(config: VLAEConfig, rows: np.ndarray, shape: Shape) -> np.ndarray:
    if ((rows > 0) & (rows < 1)).any():
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
        "iaf_posterior,affine": {"latent": "iaf_posterior", "flow_mean_only": False},
        "unconditional": {"latent": "none", "tied": False},
        "factorised,soft": {"context": "none", "free_bits_of": "soft"},
        "local,none": {"context": "local", "window_width": 4, "free_bits_of": "none"},
        "stacks": {"context": "stacks", "tied": False},
        "square": dict.fromkeys(SQUARE, 6),
        "8x8": {"height": 8, "width": 8} | SMALL,
        "28x28": {"height": 28, "width": 28, "maps": 2, "masked_layers": 6},
    }
    return {
        name: VLAEConfig(**effective(VLAEConfig, odd, change)) for name, change in changes.items()
    }


def _traits(config: VLAEConfig) -> Traits:
    c = config
    size = f" {c.window_width} x {c.window_rows}" if c.context == "local" else ""
    z = "" if c.latent == "none" else f" of {c.latent_dim}"
    return Traits(
        title=f"{c.height} x {c.width}, context {c.context}{size}, latent {c.latent}{z}",
        divisible="none" in (c.free_bits_of, c.latent),  # free bits are of the whole batch
        pixels_in_turn=0 if c.context == "none" else c.height * c.width,
        draws_reconstructions=True,
        uniform=c.height * c.width * math.log(2),
        memory=_memory(c),
    )


def _memory(config: VLAEConfig) -> Memory:
    c, pixels = config, config.height * config.width
    maps = max(c.decoder_maps, c.maps, 1 + c.context_maps, LEAST_MAPS)
    kH, kW = c.window.kernel_size
    first = kH * kW * (1 + c.context_maps)
    others = KERNEL_SIZE**2 * max(c.decoder_maps, c.maps)
    return Memory(
        widest=max(pixels * maps, c.features, c.hidden_dim, c.flow_hidden_dim, c.code_dim),
        columns=max(first, others) * pixels,
        copies_weights=True,  # to mask and to normalise them
    )


def _values(config: VLAEConfig) -> dict[str, ValueFunction]:
    """The code of a sample and the bound; pixels are drawn in turn, so they are draws."""
    return {
        "generate": lambda model, x, noise, key: model.latent.generate(noise.eps),
        "log_weight": autoencoders.log_weight,
    }


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
    },
    for_data=_for_data,
    data="binary_digits",
    to_batch=_to_batch,
    to_images=_to_images,
    traits=_traits,
    values=_values,
    draws=_draws,
)
