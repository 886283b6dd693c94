"""What the registrations of the RNN and the LSTM share."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_specs.common.key import Key
from numpy_ref.nn import random


def variants(config: Any, sizes: dict[str, Any]) -> dict[str, Any]:
    """Every scheme, one to three layers, both kernels, sizes that are all different."""
    schemes = ("per_step", "variational", "variational_recurrent", "recurrent")
    result = {"": config(**sizes, num_layers=2)}
    for layers, scheme in enumerate(schemes):
        fields = {"num_layers": 1 + layers % 3, "scheme": scheme, "rate": 0.3}
        result[scheme] = config(**sizes, **fields)
        result[f"{scheme},loop"] = config(**sizes, **fields, kernel="loop")
    return result


def tokens(key: Key, config: Any, size: int, vocabulary: int) -> np.ndarray:
    """Random ids (T, B)."""
    u = random.uniform(key, (config.seq_len, size))
    return (u * vocabulary).astype(np.int64)


def state(key: Key, config: Any, size: int, dtype: np.dtype) -> np.ndarray:
    """One part of a state (L, B, H) that is not zero: a zero one hides mistakes."""
    shape = (config.num_layers, size, config.hidden_dim)
    return 0.5 * random.normal(key, shape, dtype=dtype)


def weight(key: Key, config: Any, size: int, dtype: np.dtype) -> np.ndarray:
    """Random weights (T, B) of the steps."""
    return random.uniform(key.fold_in("weight"), (config.seq_len, size), dtype=dtype)
