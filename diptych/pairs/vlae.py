"""The VLAE: its variants for `diptych check`, its sizes, and how it takes images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import numpy_ref.vlae
import torch_impl.vlae
from diptych.data import Data, Dataset
from diptych.pairs.pair import Pair, Shape, fitting
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random

SMALL: dict[str, Any] = {"maps": 8, "hidden_dim": 64, "latent_dim": 16}
SMALL |= {"flow_hidden_dim": 64, "flow_steps": 2, "flow_hidden_layers": 2, "decoder_maps": 8}


def _batch(config: VLAEConfig, key: Key, dtype: np.dtype, size: int) -> np.ndarray:
    u = random.uniform(key, (size, *config.example_shape))
    return (u < 0.4).astype(dtype)


def _for_data(data: Data, overrides: Mapping[str, Any]) -> VLAEConfig:
    """The paper's sizes for images of 28 x 28 or more pixels, smaller ones for any other."""
    if not isinstance(data, Dataset):
        raise ValueError(f"data: got {data.name}, vlae takes images")
    channels, height, width = data.image_shape
    if channels != 1:
        raise ValueError(f"data: got {data.name} of {channels} channels, vlae takes binary images")
    sizes = {"height": height, "width": width}
    fields = {} if height * width >= 784 else SMALL
    return fitting(VLAEConfig(**sizes | fields | dict(overrides)), data, **sizes)


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
        "8x8": {"height": 8, "width": 8} | SMALL,
        "28x28": {"height": 28, "width": 28, "maps": 2, "masked_layers": 6},
    }
    return {name: VLAEConfig(**odd | change) for name, change in changes.items()}


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
)
