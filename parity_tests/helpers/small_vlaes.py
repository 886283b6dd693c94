"""VLAEs of odd small sizes on both panels, and binary images, for the tests of the VLAE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit

from diptych import pairs, weights
from model_specs.common.effects import changed, effective
from model_specs.common.key import Key
from model_specs.vlae import BERNOULLI, MIXTURE, VLAEConfig
from numpy_ref.nn import random

KEY = Key(61)
CONTEXTS: dict[str, dict[str, Any]] = {
    "none": {"context": "none"},
    "local": {"context": "local", "window_width": 4, "window_rows": 2},
    "raster": {"context": "raster"},
    "stacks": {"context": "stacks", "tied": False},
}
GATED: dict[str, Any] = {"context": "gated", "window_width": 4, "window_rows": 2}
COLOUR_CONTEXTS: dict[str, dict[str, Any]] = CONTEXTS | {
    "gated": GATED,
    "gated raster": GATED | {"window_width": 0, "window_rows": 1},
}
PIXELS: dict[str, dict[str, Any]] = {
    "binary": {},
    "levels": {"likelihood": MIXTURE},
    "colour": {"likelihood": MIXTURE, "channels": 3},
    "grey context": {"likelihood": MIXTURE, "channels": 3, "context_channels": "grey"},
}
LATENTS = ("none", "gaussian", "af_prior", "iaf_posterior")
KINDS = [(n, c) for n in LATENTS for c in CONTEXTS if (n, c) != ("none", "none")]
"""All pairs of a latent and a context, but for a model with neither."""


def small_config(**changes: Any) -> VLAEConfig:
    """The config of `diptych check vlae`, of 5 x 7 pixels, with `changes`."""
    return changed(pairs.get("vlae").variants[""], **changes)


def make_config(latent: str = "af_prior", context: str = "raster", **changes: Any) -> VLAEConfig:
    """`small_config` with an affine flow, and with a latent and a context by name.

    Changes that have no effect with these are left out.
    """
    changes = {"latent": latent, "flow_mean_only": False} | CONTEXTS[context] | changes
    return small_config(**effective(VLAEConfig, changes))


def colour_config(pixels: str, context: str, latent: str, maps: int, **changes: Any) -> VLAEConfig:
    """`small_config` with pixels, context and latent by name, of `maps` latent maps if not 0."""
    options = {"latent": latent, "latent_maps": maps, "strides": 2, "components": 2}
    options |= {"decoder_maps": 3, "decoder_blocks": 3, "flow_mean_only": False}
    fields = {n: v for n, v in COLOUR_CONTEXTS[context].items() if n != "tied"}
    return small_config(**effective(VLAEConfig, options | PIXELS[pixels] | fields | changes))


def binary_images(
    config: VLAEConfig, count: int, dtype: str = "float64", key: Key = KEY, share: float = 0.4
) -> np.ndarray:
    """Random binary images; each pixel is 1 with probability `share`."""
    u = random.uniform(key.fold_in("images"), (count, *config.example_shape))
    return (u < share).astype(dtype)


def images(config: VLAEConfig, count: int, dtype: str = "float64", key: Key = KEY) -> np.ndarray:
    """Random images of the config's likelihood: binary ones, or ones of all 256 levels."""
    if config.likelihood == BERNOULLI:
        return binary_images(config, count, dtype, key)
    u = random.uniform(key.fold_in("levels"), (count, *config.example_shape))
    return (np.floor(256 * u) / 255).astype(dtype)


def make_models(config: VLAEConfig, dtype: str = "float64") -> Any:
    """(left, right) with the same weights, initialised by data, no g at 1 and no bias at 0."""
    pair = pairs.get("vlae")
    left, right = pair.left(config, Key(62), dtype=dtype), pair.right(config, Key(63), dtype=dtype)
    left.initialize(images(config, 9, dtype), left.draw_noise(KEY, 9))
    for name, parameter in left.named_parameters():
        if not name.endswith("weight_v"):  # another direction would want another length
            parameter.data += 0.1 * random.normal(Key(64).fold_in(name), parameter.data.shape)
        if config.likelihood == MIXTURE and name == "pixels.last.1.weight_g":
            parameter.data *= 0.5  # narrow logistics would amplify every rounding of their means
    weights.transfer(left, right)
    return left, right


def naive_samples(
    decode: Callable[[np.ndarray], np.ndarray], u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """x and p by one full forward pass per pixel: p(x) = prod_i p(x_i | pixels before i).

    `decode` maps images to logits; pixel i is 1 where u_i < p_i.
    """
    x, p = np.zeros_like(u), np.zeros_like(u)
    for i, j in np.ndindex(u.shape[2:]):
        p[:, :, i, j] = expit(decode(x)[:, :, i, j])
        x[:, :, i, j] = u[:, :, i, j] < p[:, :, i, j]
    return x, p
