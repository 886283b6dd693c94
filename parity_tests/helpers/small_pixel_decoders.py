"""Pixel decoders of colour images on both panels, with the same weights and small odd sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from helpers.layers_with_same_weights import with_same_weights
from helpers.run_layers import tensors
from torch import nn

import numpy_ref.vlae
import torch_impl.vlae
from model_specs.common.effects import effective
from model_specs.vlae import MIXTURE, VLAEConfig

OUTPUTS = 7
"""Parameters of a pixel's distribution."""
COLOUR: dict[str, Any] = {"channels": 3, "likelihood": MIXTURE}
GATED: dict[str, dict[str, Any]] = {
    "gated 1 x 1": {"window_width": 1, "window_rows": 1},
    "gated 2 x 3": {"window_width": 2, "window_rows": 3},
    "gated 3 x 1": {"window_width": 3, "window_rows": 1},
    "gated 4 x 2": {"window_width": 4, "window_rows": 2},
    "gated 5 x 3": {"window_width": 5, "window_rows": 3},
    "gated 6 x 2, 2 blocks": {"window_width": 6, "window_rows": 2, "decoder_blocks": 2},
    "gated 7 x 4, 3 blocks": {"window_width": 7, "window_rows": 4, "decoder_blocks": 3},
    "gated 7 x 4, 1 block": {"window_width": 7, "window_rows": 4, "decoder_blocks": 1},
    "gated, raster": {"window_width": 0},
}
GATED = {name: {"context": "gated", "decoder_blocks": 2} | GATED[name] for name in GATED}
DECODERS: dict[str, dict[str, Any]] = GATED | {
    "none": {"context": "none"},
    "local 4 x 2": {"context": "local", "window_width": 4, "window_rows": 2},
    "raster": {"context": "raster"},
    "stacks": {"context": "stacks", "tied": False},
}
"""Fields of the config by name."""


def decoder_config(name: str, **changes: Any) -> VLAEConfig:
    """The config of an entry of DECODERS for colour images of 5 x 7; changes without effect are
    left out."""
    small = {"height": 5, "width": 7, "latent": "gaussian", "context_maps": 2, "decoder_maps": 3}
    small |= {"masked_layers": 3}
    return VLAEConfig(**effective(VLAEConfig, small | COLOUR | DECODERS[name] | changes))


def make_decoders(
    config: VLAEConfig,
    rng: np.random.Generator,
    dtype: str = "float64",
    outputs: int = OUTPUTS,
) -> dict[str, Any]:
    """The pixel decoders of a config with the same random weights, by panel."""
    left, right = (
        panel.PIXEL_DECODERS[config.context](config, outputs, dtype=dtype)
        for panel in (numpy_ref.vlae, torch_impl.vlae)
    )
    with_same_weights(left, right, rng)
    return {"numpy": left.astype(dtype), "torch": right}


def decoder_inputs(
    config: VLAEConfig, rng: np.random.Generator, count: int = 3, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray]:
    """Images on the 256 levels, and maps, which have 0 channels without a latent."""
    x = rng.integers(0, 256, (count, *config.example_shape)) / 255
    maps = rng.normal(size=(count, config.maps_read, *config.example_shape[1:]))
    return x.astype(dtype), maps.astype(dtype)


def params_of(decoder: Any, x: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The output of a decoder of either panel; one set of maps serves all images."""
    maps = np.broadcast_to(maps, (len(x), *maps.shape[1:])).copy()
    if isinstance(decoder, nn.Module):
        with torch.no_grad():
            return decoder(*tensors(x, maps)).numpy()
    return decoder(x, maps)[0]


def naive_images(
    decoder: Any,
    maps: np.ndarray,
    u: np.ndarray,
    draw: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    channels: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Images and means by one full forward pass per pixel."""
    x, means = np.zeros((2, len(u), channels, *u.shape[2:]))
    for i, j in np.ndindex(u.shape[2:]):
        params = params_of(decoder, x, maps)
        x[:, :, i, j], means[:, :, i, j] = draw(params[:, :, i, j], u[:, :, i, j])
    return x, means
