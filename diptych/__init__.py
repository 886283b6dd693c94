"""Diptych: every model twice, and the hinge that proves both the same.

The public names are handed on from where they live; torch is imported when one is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Key": "model_specs.common.key",
    "LSTMBatch": "model_specs.lstm",
    "LSTMConfig": "model_specs.lstm",
    "LSTMLoss": "model_specs.lstm",
    "LSTMState": "model_specs.lstm",
    "MLPVAEConfig": "model_specs.mlp_vae",
    "MLPVAELoss": "model_specs.mlp_vae",
    "MLPVAENoise": "model_specs.mlp_vae",
    "Masks": "model_specs.recurrent.dropout",
    "RNNBatch": "model_specs.rnn",
    "RNNConfig": "model_specs.rnn",
    "RNNLoss": "model_specs.rnn",
    "RNNState": "model_specs.rnn",
    "Report": "diptych.parity.report",
    "assert_parity": "diptych.parity.plugin",
    "compare": "diptych.parity.api",
}
__all__ = list(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'diptych' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
