"""The LSTM language model: its variants for `diptych check`, its sizes, and its configs by data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import numpy_ref.lstm
import torch_impl.lstm
from diptych.data import Corpus, Data, MemoryTask
from diptych.pairs import recurrent
from diptych.pairs.pair import Pair, fitting
from model_specs.common.key import Key
from model_specs.lstm import LSTMBatch, LSTMConfig, LSTMState


def _batch(config: LSTMConfig, key: Key, dtype: np.dtype, size: int) -> LSTMBatch:
    x, y = (recurrent.tokens(key.fold_in(n), config, size, config.vocab_size) for n in "xy")
    h, c = (recurrent.state(key.fold_in(n), config, size, dtype) for n in "hc")
    return LSTMBatch(x, y, LSTMState(h, c), recurrent.weight(key, config, size, dtype))


def _window(config: LSTMConfig, x: Any, y: Any, weight: Any, state: Any) -> LSTMBatch:
    return LSTMBatch(x, y, state, weight)


def _for_data(data: Data, overrides: Mapping[str, Any]) -> LSTMConfig:
    """Take two layers of 200 units for text, one layer of 64 with a forget bias of 3 for copy."""
    if isinstance(data, Corpus):
        fields: dict[str, Any] = {"vocab_size": len(data.vocabulary)}
    elif isinstance(data, MemoryTask) and data.kind == "copy":
        fields = {"vocab_size": data.symbols, "seq_len": data.steps}
        fields |= {"embedding_dim": 32, "hidden_dim": 64, "num_layers": 1, "forget_bias": 3.0}
    else:
        raise ValueError(f"data: got {data.name}, lstm takes text or copy")
    config = LSTMConfig(**fields | dict(overrides))
    return fitting(config, data, vocab_size=fields["vocab_size"])


def _variants() -> dict[str, LSTMConfig]:
    odd: dict[str, Any] = {"vocab_size": 13, "embedding_dim": 5, "hidden_dim": 6, "seq_len": 9}
    odd |= {"init_scale": 0.5}
    tied = odd | {"embedding_dim": 6, "tied": True, "num_layers": 3, "forget_bias": 1.0}
    gal = {"scheme": "variational_recurrent", "rate": 0.5, "recurrent_rate": 0.3, "word_rate": 0.2}
    named = {"tied": LSTMConfig(**tied), "words": LSTMConfig(**odd | gal)}
    return recurrent.variants(LSTMConfig, odd) | named


def _size(hidden: int) -> tuple[LSTMConfig, int]:
    width: dict[str, Any] = {"embedding_dim": hidden, "hidden_dim": hidden}
    return LSTMConfig(**width, seq_len=35, scheme="per_step", rate=0.5), 20


PAIR = Pair(
    left=numpy_ref.lstm.LSTM,
    right=torch_impl.lstm.LSTM,
    variants=_variants(),
    batch=_batch,
    sizes={f"H {hidden}, T 35, batch 20": _size(hidden) for hidden in (200, 650)},
    for_data=_for_data,
    data="topics",
    window=_window,
    right_options=recurrent.RIGHT_OPTIONS,
    values=recurrent.values,
    windows=recurrent.WINDOWS,
)
