"""A residual MLP against its compiled self."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: F401  (for the faults)
from torch import nn

from diptych import parity


class Block(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.act, self.down = nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)

    def forward(self, x):
        return x + self.down(self.act(self.up(self.norm(x))))


class MLP(nn.Module):
    def __init__(self, width=6, inner=9, classes=3):
        super().__init__()
        self.block1, self.block2 = Block(width, inner), Block(width, inner)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.block2(self.block1(x)))


x = np.random.default_rng(15).normal(size=(7, 6))
torch.manual_seed(0)


LOWERING: dict[str, Callable[..., Any]] = {}
"""The compiler's replacements, by the name of a function of the graph; faults are planted here."""


class Lowered(torch.fx.Interpreter):
    """A captured graph whose functions are replaced before they run."""

    def call_function(self, target, args, kwargs):
        return super().call_function(LOWERING.get(target.__name__, target), args, kwargs)


def compiled(model):
    return torch.compile(copy.deepcopy(model), backend=lambda graph, _: Lowered(graph).run)


def compare():
    # adapter
    left = MLP().double()
    return parity.compare(left, compiled(left), x)
    # end of adapter
