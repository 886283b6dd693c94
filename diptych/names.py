"""The names that a user may type, available without torch, and the error for an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from model_specs.conv_vae import ConvVAEConfig
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from model_specs.rnn import RNNConfig
from model_specs.vlae import VLAEConfig

MODELS: dict[str, type] = {
    "mlp_vae": MLPVAEConfig,
    "conv_vae": ConvVAEConfig,
    "vlae": VLAEConfig,
    "rnn": RNNConfig,
    "lstm": LSTMConfig,
}
"""The config class of each model."""

EXPERIMENTS = ("estimators", "bound", "beta", "likelihoods", "autoencoder", "lossy", "colour")
"""The experiments of the laboratory."""

DTYPES = ("float32", "float64")
"""The dtypes that both panels compute in."""


def lookup(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """Return table[name]. Raises: ValueError that lists the names and suggests the most similar."""
    if name in table:
        return table[name]
    names = ", ".join(filter(None, table))
    raise ValueError(f"{kind}: got {name!r}, takes one of {names}{suggestion(name, table)}")


def suggestion(name: str, names: Iterable[str], count: int = 1) -> str:
    """The end of an error message: "; did you mean 'rnn'?", or "" if no name is similar."""
    similar = difflib.get_close_matches(name, list(names), n=count, cutoff=0.4)
    return f"; did you mean {' or '.join(map(repr, similar))}?" if similar else ""
