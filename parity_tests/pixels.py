"""What the tests of the VLAE share: tiny odd configs, both panels of one, and binary images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from diptych import pairs, weights
from model_specs.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref import random

KEY = Key(61)
ODD: dict[str, Any] = {"height": 5, "width": 7, "maps": 3, "hidden_dim": 11, "latent_dim": 4}
ODD |= {"flow_steps": 2, "flow_hidden_dim": 9, "flow_hidden_layers": 2, "flow_mean_only": False}
ODD |= {"handed_over": 2, "decoder_maps": 6, "masked_layers": 3, "free_bits": 0.001}
CONTEXTS: dict[str, dict[str, Any]] = {
    "none": {"context": "none"},
    "local": {"context": "local", "window_width": 4, "window_rows": 2},
    "raster": {"context": "raster"},
    "stacks": {"context": "stacks", "tied": False},
}
LATENTS = ("none", "gaussian", "af_prior", "iaf_posterior")
KINDS = [(n, c) for n in LATENTS for c in CONTEXTS if (n, c) != ("none", "none")]
"""What there is of z, and of the pixels before each pixel: at least one."""


def config_of(latent: str = "af_prior", context: str = "raster", **changes: Any) -> VLAEConfig:
    """An odd one, its flow affine."""
    return VLAEConfig(**ODD | {"latent": latent} | CONTEXTS[context] | changes)


def images(
    config: VLAEConfig, count: int, dtype: str = "float64", key: Key = KEY, share: float = 0.4
) -> np.ndarray:
    """Of `share` ones."""
    u = random.uniform(key.fold_in("images"), (count, *config.example_shape))
    return (u < share).astype(dtype)


def make(config: VLAEConfig, dtype: str = "float64") -> Any:
    """Both panels of one config, from the same weights: settled by data, and then none 0 or 1."""
    pair = pairs.get("vlae")
    left, right = pair.left(config, Key(62), dtype=dtype), pair.right(config, Key(63), dtype=dtype)
    left.initialize(images(config, 9, dtype), left.draw_noise(KEY, 9))
    for name, parameter in left.named_parameters():
        if not name.endswith("weight_v"):  # another direction would want another length
            parameter.data += 0.1 * random.normal(Key(64).fold_in(name), parameter.data.shape)
    weights.transfer(left, right)
    return left, right


def tensors(*arrays: np.ndarray) -> Any:
    return tuple(map(torch.from_numpy, arrays))
