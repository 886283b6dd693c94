"""The teaching RNN: its variants for `diptych check`, its sizes, and its configs by data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.linalg

import numpy_ref.rnn
import torch_impl.rnn
from diptych.data import Corpus, Data, MemoryTask
from diptych.pairs import recurrent
from diptych.pairs.pair import Pair, Traits, fitting
from model_specs.common.key import Key
from model_specs.rnn import RNNBatch, RNNConfig, RNNState
from numpy_ref.nn import random


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
    if np.issubdtype(x.dtype, np.integer):
        if x.size and not 0 <= x.min() <= x.max() < config.output_dim:
            got = f"from {x.min()} to {x.max()}"
            raise ValueError(f"x: got values {got}, takes [0, {config.output_dim})")
        x = _codes(config.output_dim, config.input_dim)[x]
    return RNNBatch(x, y, state, weight)


def _codes(symbols: int, width: int) -> np.ndarray:
    """Return the input vector of each symbol.   -> (symbols, width) float32

    If width = symbols they are one-hot. Otherwise they are rows of a Hadamard matrix of 1 and -1,
    which are orthogonal too; but any half of the values identifies the row, so dropout cannot hide
    a symbol.
    """
    if width == symbols:
        return np.eye(symbols, dtype=np.float32)
    return scipy.linalg.hadamard(width)[:symbols].astype(np.float32)


def _for_data(data: Data, overrides: Mapping[str, Any]) -> RNNConfig:
    """Take one-hot inputs for text, codes for copy, and two numbers at each step for adding."""
    if isinstance(data, Corpus):
        symbols = len(data.vocabulary)
        sizes: dict[str, Any] = {"input_dim": symbols, "output_dim": symbols}
        return fitting(RNNConfig(**sizes | dict(overrides)), data, **sizes)
    if not isinstance(data, MemoryTask):
        raise ValueError(f"data: got {data.name}, rnn takes text, copy or adding")
    if data.kind == "adding":
        sizes = {"input_dim": 2, "output_dim": 1, "likelihood": "squared_error"}
        fields = sizes | {"seq_len": data.steps, "recurrent_gain": 1.0} | dict(overrides)
        return fitting(RNNConfig(**fields), data, **sizes)
    # h = tanh(3 h) is stable near 1 and -1, so each unit starts as a latch that keeps its sign
    # (Bengio, Simard & Frasconi 1994); from the sources' N(0, 0.01^2) nothing is learned
    latches = {"recurrent_gain": 3.0, "weight_std": 0.2}
    fields = {"input_dim": 16, "output_dim": data.symbols, "seq_len": data.steps} | latches
    config = RNNConfig(**fields | dict(overrides))
    width = config.input_dim
    if width != data.symbols and (width < data.symbols or width & (width - 1)):
        takes = f"{data.symbols} (one-hot) or a power of 2 above it"
        raise ValueError(f"input_dim: got {width}, takes {takes} for {data.name}")
    return fitting(config, data, output_dim=data.symbols)


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
    right_options=recurrent.RIGHT_OPTIONS,
    values=recurrent.values,
    windows=recurrent.WINDOWS,
    traits=lambda config: Traits(likelihood=config.likelihood == "cross_entropy"),
)
