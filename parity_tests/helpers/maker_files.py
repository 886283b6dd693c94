"""Files with makers of an MLP in NumPy and in PyTorch, and with its inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LEFT = """\
from model_specs.common.key import Key
from numpy_ref.nn.functional import Tanh
from numpy_ref.nn.layers import Linear
from numpy_ref.nn.module import Sequential


def make():
    return Sequential(Linear(4, 6, Key(1)), Tanh(), Linear(6, 3, Key(2)))


def other_weights():
    return Sequential(Linear(4, 6, Key(3)), Tanh(), Linear(6, 3, Key(4)))


def raises():
    raise RuntimeError("no data")


def number():
    return 3
"""

RIGHT = """\
import left
import torch
from torch import nn


def make(activation=nn.Tanh):
    model = nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 3)).double()
    state = {name: torch.from_numpy(array) for name, array in left.make().state_dict().items()}
    model.load_state_dict(state)
    return model


def random_weights():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def faulty():
    return make(nn.ReLU)


def single():
    return random_weights().float()


class Raising(nn.Module):
    def forward(self, x):
        return {}["no such entry"]


def raising():
    return make(Raising)


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(4, 6, dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros(6, dtype=torch.float64))
        self.last = nn.Linear(6, 3).double()

    def forward(self, x):
        return self.last(torch.tanh(x @ self.w + self.b))
"""

MAP = """\
ignore = ["forward(*"]

[rename]
"0.weight" = "w"
0.bias = "b"
2 = "last"

[layout]
"0.weight" = "o i -> i o"
"""


def write_makers(folder: Path) -> None:
    """Write left.py, right.py, x.npz and map.toml into a folder."""
    (folder / "left.py").write_text(LEFT)
    (folder / "right.py").write_text(RIGHT)
    (folder / "map.toml").write_text(MAP)
    np.savez(folder / "x.npz", np.random.default_rng(7).normal(size=(5, 4)))
