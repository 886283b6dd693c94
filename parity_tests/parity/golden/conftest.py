"""Fixtures of golden files: a path, and a small pair with its batch."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from diptych import weights
from model_specs.common.key import Key
from numpy_ref.nn.functional import Tanh
from numpy_ref.nn.layers import Linear
from numpy_ref.nn.module import Sequential


@pytest.fixture
def golden(tmp_path):
    return tmp_path / "golden.safetensors"


@pytest.fixture
def mlp():
    left = Sequential(Linear(4, 6, Key(1)), Tanh(), Linear(6, 3, Key(2)))
    right = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    weights.transfer(left, right)
    return left, right, np.random.default_rng(7).normal(size=(5, 4))
