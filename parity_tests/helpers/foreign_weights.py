"""Weights in files of other programs: values for them, and checks of what was loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import weights
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.lstm import LSTM as NumpyLSTM
from numpy_ref.mlp_vae import MLPVAE as NumpyMLPVAE
from torch_impl.lstm import LSTM as TorchLSTM
from torch_impl.mlp_vae import MLPVAE as TorchMLPVAE

CONFIG = MLPVAEConfig(input_dim=5, hidden_dim=4, latent_dim=3)
TIED = LSTMConfig(vocab_size=7, embedding_dim=4, hidden_dim=4, num_layers=2, seq_len=3, tied=True)
PANELS: dict[str, tuple[Any, Any]] = {
    "numpy": (NumpyMLPVAE, NumpyLSTM),
    "torch": (TorchMLPVAE, TorchLSTM),
}


def state(model: Any) -> dict[str, np.ndarray]:
    return {name: a.copy() for name, a in weights.to_arrays(model.state_dict()).items()}


def other_weights(model: Any) -> dict[str, np.ndarray]:
    """Weights of the model's names and shapes, multiples of 1/16 that bfloat16 holds exactly."""
    rng = np.random.default_rng(5)
    return {name: rng.integers(-8, 9, a.shape) / 16 for name, a in state(model).items()}


def assert_loaded(model: Any, expected: dict[str, np.ndarray]) -> None:
    loaded = state(model)
    for name, value in expected.items():
        np.testing.assert_array_equal(loaded[name], value, err_msg=name)


def assert_refused(model: Any, file: Path, message: str) -> None:
    before = state(model)
    with pytest.raises(ValueError, match=message) as caught:
        weights.load(model, file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert_loaded(model, before)
