"""The MLP VAE: its variants for `diptych check`, its sizes, and its configs by data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

import numpy_ref.mlp_vae
import torch_impl.mlp_vae
from diptych.data import Data, Dataset
from diptych.pairs import autoencoders
from diptych.pairs.latent import Latent, Progress, value
from diptych.pairs.pair import Memory, Pair, Shape, Traits, fitting
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import random

BERNOULLIS = ("bernoulli", "bernoulli_clamped")


def _batch(config: MLPVAEConfig, key: Key, dtype: np.dtype, size: int) -> np.ndarray:
    return random.uniform(key, (size, config.input_dim), dtype=dtype)


def _for_data(data: Data, overrides: Mapping[str, Any]) -> MLPVAEConfig:
    """Take 784-400-20 for images of MNIST's size; 2 latents, to be plotted, for smaller ones."""
    if not isinstance(data, Dataset):
        raise ValueError(f"data: got {data.name}, mlp_vae takes images")
    features = data.train.x.shape[1]
    hidden, latent = (400, 20) if features >= 784 else (64, 2)
    fields: dict[str, Any] = {"hidden_dim": hidden, "latent_dim": latent, "init": "torch"}
    config = MLPVAEConfig(**{"input_dim": features} | fields | dict(overrides))
    return fitting(config, data, input_dim=features)


def _variants() -> dict[str, MLPVAEConfig]:
    small: dict[str, Any] = {"input_dim": 16, "hidden_dim": 32, "latent_dim": 2}
    odd: dict[str, Any] = {"input_dim": 13, "hidden_dim": 11, "latent_dim": 3, "init": "torch"}
    changes: dict[str, dict[str, Any]] = {
        "sampled": {"estimator": "sampled"},
        "samples=3": {"samples": 3},
        "sampled,samples=3": {"estimator": "sampled", "samples": 3},
        "sigma": {"posterior": "sigma"},
        "sigma,sampled": {"posterior": "sigma", "estimator": "sampled", "samples": 3},
        "sigma,clamped": {"posterior": "sigma", "likelihood": "bernoulli_clamped"},
        "gaussian": {"likelihood": "gaussian", "gaussian_std": 0.7},
        "gaussian_learned": {"likelihood": "gaussian_learned", "min_logvar": -1.0},
        "continuous_bernoulli": {"likelihood": "continuous_bernoulli"},
        "beta": {"likelihood": "beta"},
        "truncated_gaussian": {"likelihood": "truncated_gaussian", "gaussian_std": 0.2},
        "deterministic": {"posterior": "deterministic"},
        "beta=4,sum": {"beta": 4.0, "reduction": "sum"},
        "tanh": {"activation": "tanh"},
        "square": {"input_dim": 5, "hidden_dim": 5, "latent_dim": 5},
    }
    named = {name: MLPVAEConfig(**odd | change) for name, change in changes.items()}
    return {"": MLPVAEConfig(**small), **named, "784-400-20": MLPVAEConfig(init="torch")}


def _to_batch(config: MLPVAEConfig, rows: np.ndarray, shape: Shape) -> np.ndarray:
    return rows


def _to_images(config: MLPVAEConfig, x: np.ndarray, shape: Shape) -> np.ndarray:
    return np.clip(x, 0, 1).reshape(-1, *shape)


def _traits(config: MLPVAEConfig) -> Traits:
    c = config
    outputs = c.outputs * c.input_dim
    return Traits(
        title=f"{c.input_dim}-{c.hidden_dim}-{c.latent_dim}",
        reduction=c.reduction,
        samples=c.samples,
        likelihood=c.posterior != "deterministic",
        # of a density on [0, 1], or the probability 1/2 of a pixel
        uniform=c.input_dim * math.log(2) if c.likelihood in BERNOULLIS else 0.0,
        latent=_latent(c),
        memory=Memory(widest=max(outputs, c.hidden_dim, c.latent_dim)),
    )


def _latent(config: MLPVAEConfig) -> Latent:
    def codes(model: Any, x: Any) -> Any:
        return value(model, model.encode(x))[0]

    def images(model: Any, z: Any, key: Key, mean: bool, progress: Progress | None) -> Any:
        return model.likelihood.mean(value(model, model.decode(z)))

    if config.posterior == "deterministic":  # an autoencoder, whose codes have no prior
        return Latent(config.latent_dim, codes, images, generate=None)
    return Latent(config.latent_dim, codes, images)


PAIR = Pair(
    left=numpy_ref.mlp_vae.MLPVAE,
    right=torch_impl.mlp_vae.MLPVAE,
    variants=_variants(),
    batch=_batch,
    sizes={
        "784-400-20, batch 128": (MLPVAEConfig(784, 400, 20), 128),
        "16-32-2, batch 64": (MLPVAEConfig(16, 32, 2), 64),
    },
    for_data=_for_data,
    data="digits",
    to_batch=_to_batch,
    to_images=_to_images,
    traits=_traits,
    values=lambda config: autoencoders.values(likelihood=config.posterior != "deterministic"),
    draws=lambda config: {"sample, drawn": autoencoders.sample(mean=False)},
)
