"""A pair for the examples in this folder: two residual blocks and a head, with one fault.

The left activation of the second block has the derivative 1 for negative inputs too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from diptych import parity, weights
from numpy_ref.nn import Linear, Module

X = np.random.default_rng(3).normal(size=(7, 5))


class LeakyReLU(Module):
    """y = max(x, slope x)"""

    def __init__(self, slope=0.1, faulty=False):
        self._slope, self._faulty = slope, faulty

    def forward(self, x):
        derivative = np.where(x > 0, 1.0, self._slope).astype(x.dtype)
        if self._faulty:
            return x * derivative, lambda dy: dy
        return x * derivative, lambda dy: dy * derivative


class Block(Module):
    """y = x + W2 act(W1 x + b1) + b2"""

    def __init__(self, faulty=False):
        self.inner, self.act, self.outer = Linear(5, 8), LeakyReLU(faulty=faulty), Linear(8, 5)

    def forward(self, x):
        h, h_vjp = self.inner(x)
        a, a_vjp = self.act(h)
        y, y_vjp = self.outer(a)
        return x + y, lambda dy: dy + h_vjp(a_vjp(y_vjp(dy)))


class Network(Module):
    def __init__(self, faulty=False):
        self.block1, self.block2, self.head = Block(), Block(faulty), Linear(5, 3)

    def forward(self, x):
        h, h_vjp = self.block1(x)
        h, h2_vjp = self.block2(h)
        y, y_vjp = self.head(h)
        return y, lambda dy: h_vjp(h2_vjp(y_vjp(dy)))


class TorchBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.act, self.outer = nn.Linear(5, 8), nn.LeakyReLU(0.1), nn.Linear(8, 5)

    def forward(self, x):
        return x + self.outer(self.act(self.inner(x)))


class TorchNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1, self.block2, self.head = TorchBlock(), TorchBlock(), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.block2(self.block1(x)))


def networks(dtype, faulty):
    """A network on each side, with the weights of the right one."""
    torch.manual_seed(0)
    left = Network(faulty).astype(np.dtype(dtype))
    right = TorchNetwork().to(getattr(torch, dtype))
    weights.transfer(right, left)
    return left, right


@parity.pair("residual", inputs=[X, X[:1]], dtypes=("float64", "float32"))
def residual(dtype):
    return networks(dtype, faulty=False)


@parity.pair("faulty residual", inputs=[X])
def faulty_residual(dtype):
    return networks(dtype, faulty=True)
