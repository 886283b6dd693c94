"""Variants and random data that the registrations of the RNN and the LSTM share."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.pairs.pair import ValueFunction
from model_specs.common.key import Key
from numpy_ref.nn import random

SCHEMES = ("per_step", "variational", "variational_recurrent", "recurrent")
WINDOWS = {"two windows": 2}
NO_WIDTHS = ("seq_len", "weight_std", "init_scale")
RIGHT_OPTIONS = {f"{scheme},loop": {"kernel": "loop"} for scheme in SCHEMES}


def variants(config: Any, sizes: dict[str, Any]) -> dict[str, Any]:
    """Return configs of every scheme, with one to three layers and sizes that all differ.

    Each scheme has two variants, one for each kernel of the right panel: see RIGHT_OPTIONS.
    """
    result = {"": config(**sizes, num_layers=2)}
    for layers, scheme in enumerate(SCHEMES):
        variant = config(**sizes, num_layers=1 + layers % 3, scheme=scheme, rate=0.3)
        result |= {scheme: variant, f"{scheme},loop": variant}
    square = sizes | dict.fromkeys((n for n in sizes if n not in NO_WIDTHS), 6)
    two = config(**sizes, num_layers=2, scheme="variational", rate=0.3)
    return result | {"square": config(**square, num_layers=2), "two windows": two}


def values(config: Any) -> dict[str, ValueFunction]:
    """The values that both models compute without gradients."""
    return {
        "predict": lambda model, batch, noise, key: model.predict(batch.x, batch.state),
        "token_nll": lambda model, batch, noise, key: model.token_nll(batch, noise),
        "zero_state": lambda model, batch, noise, key: model.zero_state(batch.x.shape[1]),
    }


def tokens(key: Key, config: Any, size: int, vocabulary: int) -> np.ndarray:
    """Draw random ids (T, B) in [0, vocabulary)."""
    u = random.uniform(key, (config.seq_len, size))
    return (u * vocabulary).astype(np.int64)


def state(key: Key, config: Any, size: int, dtype: np.dtype) -> np.ndarray:
    """Draw one part (L, B, H) of a state, which is not zero because zeros would hide mistakes."""
    shape = (config.num_layers, size, config.hidden_dim)
    return 0.5 * random.normal(key, shape, dtype=dtype)


def weight(key: Key, config: Any, size: int, dtype: np.dtype) -> np.ndarray:
    """Draw random weights (T, B) of the steps."""
    return random.uniform(key.fold_in("weight"), (config.seq_len, size), dtype=dtype)
