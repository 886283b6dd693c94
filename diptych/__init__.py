"""Diptych: every model twice, and the hinge that proves both the same.

What a model is (configs, batches, noise, losses, states) comes from `model_specs`. Everything is
imported when it is first used: much of it imports torch, which takes a second.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's; without its import, Ctrl-C at the start of a command is quiet
if TYPE_CHECKING:
    from typing import Any

    from diptych import data, pairs, parity, weights
    from diptych.parity.api import compare
    from diptych.parity.plugin import assert_parity
    from diptych.parity.reports.report import Report
    from model_specs.common.key import Key
    from model_specs.conv_vae import ConvVAEConfig, ConvVAELoss, ConvVAENoise, ConvVAEOutput
    from model_specs.lstm import LSTMBatch, LSTMConfig, LSTMLoss, LSTMState
    from model_specs.mlp_vae import MLPVAEConfig, MLPVAELoss, MLPVAENoise
    from model_specs.recurrent.dropout import Masks
    from model_specs.rnn import RNNBatch, RNNConfig, RNNLoss, RNNState
    from model_specs.vlae import VLAEConfig, VLAELoss, VLAENoise

__all__ = [
    "ConvVAEConfig",
    "ConvVAELoss",
    "ConvVAENoise",
    "ConvVAEOutput",
    "Key",
    "LSTMBatch",
    "LSTMConfig",
    "LSTMLoss",
    "LSTMState",
    "MLPVAEConfig",
    "MLPVAELoss",
    "MLPVAENoise",
    "Masks",
    "RNNBatch",
    "RNNConfig",
    "RNNLoss",
    "RNNState",
    "Report",
    "VLAEConfig",
    "VLAELoss",
    "VLAENoise",
    "assert_parity",
    "compare",
    "data",
    "pairs",
    "parity",
    "weights",
]
__version__ = "0.1.0"

_MODULES = ("data", "pairs", "parity", "weights")
_SPECS = {
    "model_specs.common.key": ("Key",),
    "model_specs.conv_vae": (
        "ConvVAEConfig",
        "ConvVAELoss",
        "ConvVAENoise",
        "ConvVAEOutput",
    ),
    "model_specs.lstm": (
        "LSTMBatch",
        "LSTMConfig",
        "LSTMLoss",
        "LSTMState",
    ),
    "model_specs.mlp_vae": (
        "MLPVAEConfig",
        "MLPVAELoss",
        "MLPVAENoise",
    ),
    "model_specs.recurrent.dropout": ("Masks",),
    "model_specs.rnn": (
        "RNNBatch",
        "RNNConfig",
        "RNNLoss",
        "RNNState",
    ),
    "model_specs.vlae": (
        "VLAEConfig",
        "VLAELoss",
        "VLAENoise",
    ),
}
_HOME = {name: module for module, names in _SPECS.items() for name in names} | {
    "Report": "diptych.parity.reports.report",
    "assert_parity": "diptych.parity.plugin",
    "compare": "diptych.parity.api",
}
"""The module of each function and class that is imported when it is first used."""


def __getattr__(name: str) -> Any:
    import importlib  # noqa: PLC0415

    if name in _MODULES:
        return importlib.import_module(f"diptych.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'diptych' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
