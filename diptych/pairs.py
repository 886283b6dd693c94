"""The registry: which left belongs to which right, and a small batch to try them on.

Adding a model is adding its files and one entry here.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import numpy_ref.lstm
import numpy_ref.mlp_vae
import numpy_ref.rnn
import torch_impl.lstm
import torch_impl.mlp_vae
import torch_impl.rnn
from diptych.data import Corpus, Data, Dataset, MemoryTask
from model_specs.key import Key
from model_specs.lstm import LSTMBatch, LSTMConfig, LSTMState
from model_specs.mlp_vae import MLPVAEConfig
from model_specs.rnn import RNNBatch, RNNConfig, RNNState
from numpy_ref import random


@dataclass(frozen=True)
class Pair:
    """A model's two panels, the configs it is checked in, and how to make a batch for one."""

    left: Any
    right: Any
    variants: Mapping[str, Any]
    """Configs by name; "" is the one that the bare name of the pair means."""
    batch: Callable[[Any, Key, np.dtype, int], Any]
    """(config, key, dtype, batch size) -> a batch of random data"""
    sizes: Mapping[str, tuple[Any, int]]
    """(config, batch size) by name, for benchmarks"""
    for_data: Callable[[Data, Mapping[str, Any]], Any]
    """(data, overrides) -> the config to train with; ValueError where they do not go together"""
    data: str = "digits"
    """what it is trained on where nothing is named: data that needs no files"""
    window: Callable[..., Any] | None = None
    """(config, x, y, weight, state) -> a batch, of a model that reads sequences"""


def _mlp_vae_batch(config: MLPVAEConfig, key: Key, dtype: np.dtype, size: int) -> np.ndarray:
    return random.uniform(key, (size, config.input_dim), dtype=dtype)


def _mlp_vae_for_data(data: Data, overrides: Mapping[str, Any]) -> MLPVAEConfig:
    """784-400-20 for MNIST's size, a latent space that can be drawn for anything smaller."""
    if not isinstance(data, Dataset):
        raise ValueError(f"data: got {data.name}, mlp_vae takes images")
    features = data.train.x.shape[1]
    hidden, latent = (400, 20) if features >= 784 else (64, 2)
    fields: dict[str, Any] = {"hidden_dim": hidden, "latent_dim": latent, "init": "torch"}
    return MLPVAEConfig(**{"input_dim": features} | fields | dict(overrides))


def _lstm_batch(config: LSTMConfig, key: Key, dtype: np.dtype, size: int) -> LSTMBatch:
    """Random tokens, and a state that is not zero."""
    shape, L, H = (config.seq_len, size), config.num_layers, config.hidden_dim
    x, y = (
        (random.uniform(key.fold_in(n), shape) * config.vocab_size).astype(np.int64) for n in "xy"
    )
    h, c = (0.5 * random.normal(key.fold_in(n), (L, size, H), dtype=dtype) for n in "hc")
    weight = random.uniform(key.fold_in("weight"), shape, dtype=dtype)
    return LSTMBatch(x, y, LSTMState(h, c), weight)


def _lstm_for_data(data: Data, overrides: Mapping[str, Any]) -> LSTMConfig:
    """200 units for words, one small layer that is slow to forget for a memory task."""
    if isinstance(data, Corpus):
        return LSTMConfig(**{"vocab_size": len(data.vocabulary)} | dict(overrides))
    if isinstance(data, MemoryTask) and data.kind == "copy":
        fields: dict[str, Any] = {"vocab_size": data.symbols, "seq_len": data.steps}
        fields |= {"embedding_dim": 32, "hidden_dim": 64, "num_layers": 1, "forget_bias": 3.0}
        return LSTMConfig(**fields | dict(overrides))
    raise ValueError(f"data: got {data.name}, lstm takes text or copy")


def _recurrent_variants(config: Any, sizes: dict[str, Any]) -> dict[str, Any]:
    """Every scheme, one to three layers, both kernels, sizes that are all different."""
    schemes = ("per_step", "variational", "variational_recurrent", "recurrent")
    found = {"": config(**sizes, num_layers=2)}
    for layers, scheme in enumerate(schemes):
        fields = {"num_layers": 1 + layers % 3, "scheme": scheme, "rate": 0.3}
        found[scheme] = config(**sizes, **fields)
        found[f"{scheme},loop"] = config(**sizes, **fields, kernel="loop")
    return found


def _lstm_variants() -> dict[str, LSTMConfig]:
    odd = {"vocab_size": 13, "embedding_dim": 5, "hidden_dim": 6, "seq_len": 9, "init_scale": 0.5}
    named = _recurrent_variants(LSTMConfig, odd)
    tied = odd | {"embedding_dim": 6, "tied": True, "num_layers": 3, "forget_bias": 1.0}
    gal = {"scheme": "variational_recurrent", "rate": 0.5, "recurrent_rate": 0.3, "word_rate": 0.2}
    return named | {"tied": LSTMConfig(**tied), "words": LSTMConfig(**odd | gal)}


def _rnn_batch(config: RNNConfig, key: Key, dtype: np.dtype, size: int) -> RNNBatch:
    """Random numbers, and a state that is not zero."""
    shape, L, H = (config.seq_len, size), config.num_layers, config.hidden_dim
    x = random.normal(key.fold_in("x"), (*shape, config.input_dim), dtype=dtype)
    if config.likelihood == "cross_entropy":
        y = (random.uniform(key.fold_in("y"), shape) * config.output_dim).astype(np.int64)
    else:
        y = random.normal(key.fold_in("y"), (*shape, config.output_dim), dtype=dtype)
    h = 0.5 * random.normal(key.fold_in("h"), (L, size, H), dtype=dtype)
    weight = random.uniform(key.fold_in("weight"), shape, dtype=dtype)
    return RNNBatch(x, y, RNNState(h), weight)


def _rnn_window(config: RNNConfig, x: Any, y: Any, weight: Any, state: Any) -> RNNBatch:
    """Symbols become rows of the identity: the inputs of this model are dense."""
    if np.issubdtype(x.dtype, np.integer):
        x = np.eye(config.input_dim, dtype=np.float32)[x]
    return RNNBatch(x, y, state, weight)


def _rnn_for_data(data: Data, overrides: Mapping[str, Any]) -> RNNConfig:
    """One-hot symbols for text and copy, two numbers a step for adding."""
    if isinstance(data, Corpus):
        size = len(data.vocabulary)
        fields: dict[str, Any] = {"input_dim": size, "output_dim": size}
    elif isinstance(data, MemoryTask):
        fields = {"seq_len": data.steps, "recurrent_gain": 1.0}
        sizes = (data.symbols, data.symbols) if data.kind == "copy" else (2, 1)
        fields |= dict(zip(("input_dim", "output_dim"), sizes, strict=True))
        fields |= {} if data.kind == "copy" else {"likelihood": "squared_error"}
    else:
        raise ValueError(f"data: got {data.name}, rnn takes text, copy or adding")
    return RNNConfig(**fields | dict(overrides))


def _rnn_variants() -> dict[str, RNNConfig]:
    odd = {"input_dim": 5, "hidden_dim": 6, "output_dim": 4, "seq_len": 9, "weight_std": 0.5}
    named = _recurrent_variants(RNNConfig, odd)
    return named | {
        "squared_error": RNNConfig(**odd | {"likelihood": "squared_error", "recurrent_gain": 0.5})
    }


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
    "rnn": Pair(
        left=numpy_ref.rnn.RNN,
        right=torch_impl.rnn.RNN,
        variants=_rnn_variants(),
        batch=_rnn_batch,
        sizes={
            "H 256, T 64, batch 64": (
                RNNConfig(input_dim=256, hidden_dim=256, output_dim=256, seq_len=64),
                64,
            ),
        },
        for_data=_rnn_for_data,
        data="topics/characters",
        window=_rnn_window,
    ),
    "lstm": Pair(
        left=numpy_ref.lstm.LSTM,
        right=torch_impl.lstm.LSTM,
        variants=_lstm_variants(),
        batch=_lstm_batch,
        sizes={
            f"H {H}, T 35, batch 20": (
                LSTMConfig(
                    embedding_dim=H, hidden_dim=H, seq_len=35, scheme="per_step", rate=0.5
                ),
                20,
            )
            for H in (200, 650)
        },
        for_data=_lstm_for_data,
        data="topics",
        window=lambda config, x, y, weight, state: LSTMBatch(x, y, state, weight),
    ),
}


def get(name: str) -> Pair:
    """The pair called `name`. Raises ValueError that suggests the nearest name."""
    return lookup("model", name, PAIRS)


def of_model(model: Any) -> Pair:
    """The pair that a model is one side of. Raises ValueError where it is of none."""
    for pair in PAIRS.values():
        if type(model) in (pair.left, pair.right):
            return pair
    raise ValueError(f"model: got {type(model).__name__}, takes a panel of {', '.join(PAIRS)}")


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
    types = typing.get_type_hints(type(pair.variants[""]))
    found = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        # "float | None" takes a float: None is what a field has that is not set
        kind = next(iter(typing.get_args(lookup("config field", name, types))), types[name])
        try:
            found[name] = {"True": True, "False": False}[text] if kind is bool else kind(text)
        except (ValueError, KeyError):
            equals = ""
        if not equals:
            takes = "True or False" if kind is bool else kind.__name__
            raise ValueError(f"{name}: got {setting!r}, takes {name}={takes}")
    return found


def lookup(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """table[name]. Raises ValueError that lists what there is and suggests the nearest."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{kind}: got {name!r}, takes one of {', '.join(filter(None, table))}{hint}")
