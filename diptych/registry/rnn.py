"""The teaching RNN: its variants for `diptych check`, its sizes, and its configs by data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import numpy_ref.rnn
import torch_impl.rnn
from diptych.data import Corpus, Data, MemoryTask
from diptych.registry import recurrent
from diptych.registry.pair import Pair
from model_specs.key import Key
from model_specs.rnn import RNNBatch, RNNConfig, RNNState
from numpy_ref import random


def _batch(config: RNNConfig, key: Key, dtype: np.dtype, size: int) -> RNNBatch:
    shape, out = (config.seq_len, size), config.output_dim
    x = random.normal(key.fold_in("x"), (*shape, config.input_dim), dtype=dtype)
    if config.likelihood == "cross_entropy":
        y = recurrent.tokens(key.fold_in("y"), config, size, out)
    else:
        y = random.normal(key.fold_in("y"), (*shape, out), dtype=dtype)
    h = recurrent.state(key.fold_in("h"), config, size, dtype)
    return RNNBatch(x, y, RNNState(h), recurrent.weight(key, config, size, dtype))


def _window(config: RNNConfig, x: Any, y: Any, weight: Any, state: Any) -> RNNBatch:
    """Symbols become rows of the identity: the inputs of this model are dense."""
    if np.issubdtype(x.dtype, np.integer):
        x = np.eye(config.input_dim, dtype=np.float32)[x]
    return RNNBatch(x, y, state, weight)


def _for_data(data: Data, overrides: Mapping[str, Any]) -> RNNConfig:
    """One-hot symbols for text and copy, two numbers a step for adding."""
    fields: dict[str, Any]
    if isinstance(data, Corpus):
        fields = {"input_dim": len(data.vocabulary), "output_dim": len(data.vocabulary)}
    elif isinstance(data, MemoryTask) and data.kind == "copy":
        fields = {"input_dim": data.symbols, "output_dim": data.symbols}
        fields |= {"seq_len": data.steps, "recurrent_gain": 1.0}
    elif isinstance(data, MemoryTask):
        fields = {"input_dim": 2, "output_dim": 1, "likelihood": "squared_error"}
        fields |= {"seq_len": data.steps, "recurrent_gain": 1.0}
    else:
        raise ValueError(f"data: got {data.name}, rnn takes text, copy or adding")
    config = RNNConfig(**fields | dict(overrides))
    for name in ("input_dim", "output_dim"):
        recurrent.check_fits(config, data, fields[name], name)
    return config


def _variants() -> dict[str, RNNConfig]:
    odd: dict[str, Any] = {"input_dim": 5, "hidden_dim": 6, "output_dim": 4, "seq_len": 9}
    odd |= {"weight_std": 0.5}
    squared = RNNConfig(**odd | {"likelihood": "squared_error", "recurrent_gain": 0.5})
    return recurrent.variants(RNNConfig, odd) | {"squared_error": squared}


PAIR = Pair(
    left=numpy_ref.rnn.RNN,
    right=torch_impl.rnn.RNN,
    variants=_variants(),
    batch=_batch,
    sizes={
        "H 256, T 64, batch 64": (
            RNNConfig(input_dim=256, hidden_dim=256, output_dim=256, seq_len=64),
            64,
        )
    },
    for_data=_for_data,
    data="topics/characters",
    window=_window,
)
