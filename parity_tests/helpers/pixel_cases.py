"""What the tests of the VLAE share: tiny odd configs, both panels of one, and binary images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from diptych import pairs, weights
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random

KEY = Key(61)
CONTEXTS: dict[str, dict[str, Any]] = {
    "none": {"context": "none"},
    "local": {"context": "local", "window_width": 4, "window_rows": 2},
    "raster": {"context": "raster"},
    "stacks": {"context": "stacks", "tied": False},
}
LATENTS = ("none", "gaussian", "af_prior", "iaf_posterior")
KINDS = [(n, c) for n in LATENTS for c in CONTEXTS if (n, c) != ("none", "none")]
"""What there is of z, and of the pixels before each pixel: at least one."""


def small(**changes: Any) -> VLAEConfig:
    """The odd one of `diptych check`, of 5 x 7 pixels."""
    return replace(pairs.get("vlae").variants[""], **changes)


def config_of(latent: str = "af_prior", context: str = "raster", **changes: Any) -> VLAEConfig:
    """The same with its flow affine, and a context by its name."""
    return small(**{"latent": latent, "flow_mean_only": False} | CONTEXTS[context] | changes)


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


def tensors(*arrays: np.ndarray) -> tuple[torch.Tensor, ...]:
    return tuple(map(torch.from_numpy, arrays))
