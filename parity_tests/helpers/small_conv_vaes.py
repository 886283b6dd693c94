"""Small convolutional VAEs on both panels, and images for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych import pairs, weights
from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.conv_vae import MIXTURE, SUPPORTS, ConvVAEConfig
from numpy_ref.nn import random

KEY = Key(41)
SMALL: dict[str, Any] = {"latent_dim": 3, "base_channels": 2, "image_size": 16}
SMALL |= {"beta": 0.7, "gaussian_std": 1.3}


def small_conv_config(**changes: Any) -> ConvVAEConfig:
    """A config of small sizes with `changes`."""
    return ConvVAEConfig(**effective(ConvVAEConfig, SMALL, changes))


def make(config: ConvVAEConfig, dtype: str = "float64") -> tuple[Any, Any]:
    """Both panels with the same weights, none of them 0, and running statistics of 20 batches:
    with the initial ones, hardly a ReLU of the decoder is active."""
    pair = pairs.get("conv_vae")
    left, right = (side(config, KEY, dtype=dtype) for side in (pair.left, pair.right))
    for name, parameter in left.named_parameters():
        parameter.data += 0.1 * random.normal(KEY.fold_in(name), parameter.data.shape, dtype=dtype)
    for _ in range(20):
        left.loss(images(config, 8, dtype), left.draw_noise(KEY, 8))
    weights.transfer(left, right)
    return left, right


def images(config: ConvVAEConfig, count: int, dtype: str = "float64", key: Key = KEY) -> np.ndarray:
    """Random images in the range of the output activation, or in [-2, 2] without one.

    For a mixture they have the values k / 255.
    """
    low, high = (max(-2.0, min(2.0, end)) for end in SUPPORTS[config.out_activation])
    shape = (count, config.in_channels, config.image_size, config.image_size)
    u = random.uniform(key.fold_in("x"), shape, dtype=dtype)
    if config.recon_type == MIXTURE:
        return (np.rint(255 * u) / 255).astype(dtype)
    return (low + (high - low) * u).astype(dtype)
