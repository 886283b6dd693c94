"""The convolutional VAE: its variants for `diptych check`, its sizes, and how it takes images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import numpy_ref.conv_vae
import torch_impl.conv_vae
from diptych.data import Data, Dataset
from diptych.pairs import autoencoders
from diptych.pairs.latent import Latent, Progress, value
from diptych.pairs.pair import Memory, Pair, Shape, Traits, ValueFunction, fitting
from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.common.levels import LEVELS
from model_specs.conv_vae import LEARNED, MIXTURE, STRIDES, SUMMED, ConvVAEConfig
from numpy_ref.nn import random


def _batch(config: ConvVAEConfig, key: Key, dtype: np.dtype, size: int) -> np.ndarray:
    x = random.uniform(key, (size, *config.example_shape), dtype=dtype)
    if config.recon_type == MIXTURE:
        return np.rint((LEVELS - 1) * x) / dtype.type(LEVELS - 1)
    return _scaled(config, x)


def _for_data(data: Data, overrides: Mapping[str, Any]) -> ConvVAEConfig:
    """Take 64 channels and 128 latents for colour images, 16 and 16 for grey ones.

    The Gaussian has a standard deviation of 0.1, about the error of a reconstruction. With a larger
    one the KL term outweighs all but the coarsest structure of an image.
    """
    if not isinstance(data, Dataset):
        raise ValueError(f"data: got {data.name}, conv_vae takes images")
    channels, height, width = data.image_shape
    multiple = 2**STRIDES
    size = -(-max(height, width) // multiple) * multiple
    sizes = {"in_channels": channels, "image_size": size}
    inner = dict(zip(("height", "width"), _inner_size(data.image_shape, size), strict=True))
    base, latent = (64, 128) if channels == 3 else (16, 16)
    fields: dict[str, Any] = {"base_channels": base, "latent_dim": latent}
    fields |= {"recon_type": "gaussian", "gaussian_std": 0.1}
    config = ConvVAEConfig(**sizes | inner | effective(ConvVAEConfig, fields, overrides))
    # None in an override: a run of an older version, whose loss counts the margin
    inner = {name: value for name, value in inner.items() if getattr(config, name) is not None}
    return fitting(config, data, **sizes, **inner)


def _inner_size(shape: Shape, size: int) -> tuple[int | None, int | None]:
    """Height and width of images that have a margin in size x size pixels; None without one."""
    height, width = (n if n < size else None for n in shape[1:])
    return height, width


def _without_margin(config: ConvVAEConfig, shape: Shape) -> ConvVAEConfig:
    """The config whose likelihood leaves the margin out, also for a run of an older version."""
    height, width = _inner_size(shape, config.image_size)
    return replace(config, height=height, width=width)


def _to_batch(config: ConvVAEConfig, rows: np.ndarray, shape: Shape) -> np.ndarray:
    """Make NCHW images with a black margin to a multiple of 16, scaled to the output activation."""
    if config.recon_type == MIXTURE:
        autoencoders.check_levels(rows, "recon_type")
    images = rows.reshape(-1, *shape)
    margins = ((before, after) for before, after in _margins(config, shape))
    return _scaled(config, np.pad(images, ((0, 0), (0, 0), *margins)))


def _to_images(config: ConvVAEConfig, x: np.ndarray, shape: Shape) -> np.ndarray:
    """Invert `_to_batch`: cut the margin off and scale the values to [0, 1]."""
    (top, _), (left, _) = _margins(config, shape)
    images = x[:, :, top : top + shape[1], left : left + shape[2]]
    return np.clip((images + 1) / 2 if config.out_activation == "tanh" else images, 0, 1)


def _margins(config: ConvVAEConfig, shape: Shape) -> list[tuple[int, int]]:
    missing = (config.image_size - size for size in shape[1:])
    return [(m // 2, m - m // 2) for m in missing]


def _scaled(config: ConvVAEConfig, x: np.ndarray) -> np.ndarray:
    """Scale [0, 1] to the range of the output activation: [-1, 1] for tanh."""
    return 2 * x - 1 if config.out_activation == "tanh" else x


def _variants() -> dict[str, ConvVAEConfig]:
    odd: dict[str, Any] = {"latent_dim": 5, "base_channels": 3, "image_size": 16, "in_channels": 2}
    odd |= {"beta": 0.7}
    changes: dict[str, dict[str, Any]] = {
        "": {},
        "bce,sum": {"recon_type": "bce", "reduction": "sum"},
        "gaussian": {"recon_type": "gaussian", "gaussian_std": 0.7},
        "gaussian_learned": {"recon_type": LEARNED, "min_logvar": -1.0, "height": 9},
        "tanh": {"out_activation": "tanh", "reduction": "sum"},
        "none,grey": {"out_activation": "none", "in_channels": 1, "init": "normal"},
        "32": {"image_size": 32, "base_channels": 2, "in_channels": 3},
        "margin": {"recon_type": "gaussian", "gaussian_std": 0.7, "height": 9, "width": 12},
        "mixture": {"recon_type": MIXTURE, "in_channels": 3, "components": 4, "height": 9},
        "mixture,grey": {"recon_type": MIXTURE, "in_channels": 1, "components": 2},
        "square": {"in_channels": 2, "base_channels": 2, "latent_dim": 16},  # 16 features
    }
    return {name: ConvVAEConfig(**odd | change) for name, change in changes.items()}


def _traits(config: ConvVAEConfig) -> Traits:
    c = config
    layers = (n * (c.image_size // 2**i) ** 2 for i, n in enumerate(c.channels))
    widest = max(*layers, c.latent_dim, c.outputs * c.image_size**2)
    rows, columns = c.window
    values = c.in_channels * (rows.stop - rows.start) * (columns.stop - columns.start)
    # of a density: 1 / 2 on [-1, 1] and 1 on [0, 1]
    uniform = values * math.log(2) if "bce" in c.recon_type or "tanh" in c.out_activation else 0.0
    uniform = values * math.log(LEVELS) if c.recon_type == MIXTURE else uniform
    averaged = c.recon_type not in SUMMED and c.reduction == "mean"  # over the values of an image
    return Traits(
        title=f"{c.base_channels} channels, {c.in_channels} x {c.image_size} x {c.image_size}",
        reduction=c.reduction,
        least_batch=2 if c.code_size == 1 else 1,  # one value a channel cannot be normalised
        likelihood=c.recon_type != "mse",
        neg_elbo=lambda terms, _: terms["recon"] * (values if averaged else 1) + terms["kl"],
        values=values,
        margin=1 - values / math.prod(c.example_shape),
        uniform=uniform,
        latent=Latent(c.latent_dim, _codes, _decoded),
        # kernel 4, stride 2: four taps read a value; a weight becomes the matrix of a product
        memory=Memory(widest, columns=4 * widest, copies_weights=True),
    )


def _codes(model: Any, x: Any) -> Any:
    return value(model, model.encode(x))[0]


def _decoded(model: Any, z: Any, key: Key, mean: bool, progress: Progress | None) -> Any:
    return value(model, model.mean(value(model, model.decode(z))))


def _draws(config: ConvVAEConfig) -> dict[str, ValueFunction]:
    if config.recon_type == "mse":  # no likelihood, no draws
        return {}
    return {"sample, drawn": autoencoders.sample(mean=False)}


PAIR = Pair(
    left=numpy_ref.conv_vae.ConvVAE,
    right=torch_impl.conv_vae.ConvVAE,
    variants=_variants(),
    batch=_batch,
    sizes={"c 64, 3 x 32 x 32, batch 64": (ConvVAEConfig(image_size=32), 64)},
    for_data=_for_data,
    data="digits16",
    to_batch=_to_batch,
    to_images=_to_images,
    evaluated=_without_margin,
    traits=_traits,
    values=lambda config: autoencoders.values(likelihood=config.recon_type != "mse"),
    draws=_draws,
)
