"""Fixtures of recordings: a small pair, its batch, and a folder for the files."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from diptych import weights
from model_specs.common.key import Key
from numpy_ref.nn.functional import Tanh
from numpy_ref.nn.layers import Linear
from numpy_ref.nn.module import Sequential


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def x():
    return np.random.default_rng(7).normal(size=(5, 4))


@pytest.fixture
def mlp():
    left = Sequential(Linear(4, 6, Key(1)), Tanh(), Linear(6, 3, Key(2)))
    right = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    weights.transfer(left, right)
    return left, right
