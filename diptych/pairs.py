"""The registry: which left belongs to which right, and a small batch to try them on.

Adding a model is adding its files and one entry here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import numpy_ref.mlp_vae
import torch_impl.mlp_vae
from model_specs.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref import random


@dataclass(frozen=True)
class Pair:
    """A model's two panels, the configs it is checked in, and how to make a batch for one."""

    left: Any
    right: Any
    variants: Mapping[str, Any]
    """Configs by name; "" is the one that the bare name of the pair means."""
    batch: Callable[[Any, Key, np.dtype, int], np.ndarray]
    """(config, key, dtype, batch size) -> a batch of random data"""
    sizes: Mapping[str, tuple[Any, int]]
    """(config, batch size) by name, for benchmarks"""
    for_data: Callable[[int, Mapping[str, Any]], Any]
    """(values per example, overrides) -> the config to train with"""


def _mlp_vae_batch(config: MLPVAEConfig, key: Key, dtype: np.dtype, size: int) -> np.ndarray:
    return random.uniform(key, (size, config.input_dim), dtype=dtype)


def _mlp_vae_for_data(features: int, overrides: Mapping[str, Any]) -> MLPVAEConfig:
    """784-400-20 for MNIST's size, a latent space that can be drawn for anything smaller."""
    hidden, latent = (400, 20) if features >= 784 else (64, 2)
    fields: dict[str, Any] = {"hidden_dim": hidden, "latent_dim": latent, "init": "torch"}
    return MLPVAEConfig(**{"input_dim": features} | fields | dict(overrides))


def _mlp_vae_variants() -> dict[str, MLPVAEConfig]:
    small: dict[str, Any] = {"input_dim": 16, "hidden_dim": 32, "latent_dim": 2}
    odd: dict[str, Any] = {"input_dim": 13, "hidden_dim": 11, "latent_dim": 3, "init": "torch"}
    changes: dict[str, dict[str, Any]] = {
        "estimator=A": {"estimator": "A"},
        "samples=3": {"samples": 3},
        "A,samples=3": {"estimator": "A", "samples": 3},
        "sigma": {"posterior": "sigma"},
        "sigma,A": {"posterior": "sigma", "estimator": "A", "samples": 3},
        "sigma,clamped": {"posterior": "sigma", "likelihood": "bernoulli_clamped"},
        "gaussian": {"likelihood": "gaussian", "gaussian_std": 0.7},
        "beta=4,sum": {"beta": 4.0, "reduction": "sum"},
        "tanh": {"activation": "tanh"},
    }
    named = {name: MLPVAEConfig(**odd | change) for name, change in changes.items()}
    return {"": MLPVAEConfig(**small), **named, "784-400-20": MLPVAEConfig(init="torch")}


PAIRS: dict[str, Pair] = {
    "mlp_vae": Pair(
        left=numpy_ref.mlp_vae.MLPVAE,
        right=torch_impl.mlp_vae.MLPVAE,
        variants=_mlp_vae_variants(),
        batch=_mlp_vae_batch,
        sizes={
            "784-400-20, batch 128": (MLPVAEConfig(784, 400, 20), 128),
            "16-32-2, batch 64": (MLPVAEConfig(16, 32, 2), 64),
        },
        for_data=_mlp_vae_for_data,
    ),
}


def get(name: str) -> Pair:
    """The pair called `name`. Raises ValueError that suggests the nearest name."""
    return lookup("model", name, PAIRS)


def find(name: str) -> tuple[Pair, Any]:
    """(pair, config) for "pair" or "pair[variant]"."""
    base, bracket, variant = name.partition("[")
    if bracket and not variant.endswith("]"):
        raise ValueError(f"model: got {name!r}, takes pair or pair[variant]")
    variant = variant.removesuffix("]")
    pair = get(base)
    return pair, lookup(f"variant of {base}", variant, pair.variants)


def names(models: list[str] | None = None) -> list[str]:
    """Every "pair[variant]" of the given pairs, or of all; a named variant stands for itself."""
    found: list[str] = []
    for model in models or list(PAIRS):
        if "[" in model:
            find(model)
            found.append(model)
        else:
            found += [f"{model}[{v}]" if v else model for v in get(model).variants]
    return found


def parse_fields(pair: Pair, settings: list[str]) -> dict[str, Any]:
    """["hidden_dim=200", ...] as keywords for the pair's config, each of its field's own type.

    Raises: ValueError for an unknown field or a value that is not of its type.
    """
    defaults = vars(pair.variants[""])
    found = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        default = lookup("config field", name, defaults)
        try:
            found[name] = type(default)(text)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"{name}: got {setting!r}, takes {name}={type(default).__name__}")
    return found


def lookup(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """table[name]. Raises ValueError that lists what there is and suggests the nearest."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{kind}: got {name!r}, takes one of {', '.join(filter(None, table))}{hint}")
