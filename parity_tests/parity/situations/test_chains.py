"""Random chains of layers by hand beside those of torch: right ones, and faults at their place."""

import numpy as np
import pytest
import torch
from helpers.situations import left, pair, situation, situations_of
from torch import nn

from diptych import weights
from numpy_ref.nn import Sequential

DTYPES = ["float64", "float32"]


def _linear(rng, n):
    def forward(self, x):
        def vjp(dy):
            self.weight.grad += dy.T @ x
            self.bias.grad += dy.sum(0)
            return dy @ self.weight.data

        return x @ self.weight.data.T + self.bias.data, vjp

    weight, bias = rng.normal(size=(n, n)) / n**0.5, 0.1 * rng.normal(size=n)
    return left(forward=forward, weight=weight, bias=bias), nn.Linear(n, n)


def _layer_norm(rng, n):
    def forward(self, x):
        centred = x - x.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + np.array(1e-5, x.dtype))
        unit = centred * scale

        def vjp(dy):
            self.weight.grad += (dy * unit).sum(0)
            self.bias.grad += dy.sum(0)
            d = dy * self.weight.data
            mean, slope = d.mean(-1, keepdims=True), (d * unit).mean(-1, keepdims=True)
            return scale * (d - mean - unit * slope)

        return unit * self.weight.data + self.bias.data, vjp

    weight, bias = rng.normal(size=n), rng.normal(size=n)
    return left(forward=forward, weight=weight, bias=bias), nn.LayerNorm(n)


def _tanh(rng, n):
    def forward(self, x):
        y = np.tanh(x)
        return y, lambda dy: dy * (1 - y * y)

    return left(forward=forward), nn.Tanh()


def _relu(rng, n):
    return left(forward=lambda self, x: (np.maximum(x, 0), lambda dy: dy * (x > 0))), nn.ReLU()


def _softmax(rng, n):
    def forward(self, x):
        e = np.exp(x - x.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        return p, lambda dy: p * (dy - (dy * p).sum(-1, keepdims=True))

    return left(forward=forward), nn.Softmax(-1)


LAYERS = [_linear, _layer_norm, _tanh, _relu, _softmax]


def _chain(seed, dtype, depth=None):
    rng = np.random.default_rng(seed)
    n, depth = int(rng.choice([4, 8, 16])), depth or int(rng.integers(2, 8))
    layers = [LAYERS[int(i)](rng, n) for i in rng.integers(len(LAYERS), size=depth)]
    a = Sequential(*(layer for layer, _ in layers))
    b = nn.Sequential(*(layer for _, layer in layers)).double()
    weights.transfer(a, b)
    x = rng.normal(size=(int(rng.integers(3, 20)), n))
    return a.astype(dtype), b.to(getattr(torch, dtype)), x.astype(dtype)


@situation("2", agrees=[(seed, dtype) for seed in range(30) for dtype in DTYPES])
def random_chain(case):
    return pair(*_chain(*case))


@situation("2", agrees=[(seed, dtype) for seed in range(2) for dtype in DTYPES])
def random_chain_of_50_layers(case):
    return pair(*_chain(*case, depth=50))


def _with_a_hook(case, hook):
    a, b, x = _chain(*case)
    hook(b[0])
    return pair(a, b, x)


FAULTS = [(seed, dtype) for seed in range(10) for dtype in DTYPES]


@situation("1", differs=FAULTS, first="0")
def random_chain_with_a_wrong_output(case):
    return _with_a_hook(
        case, lambda m: m.register_forward_hook(lambda module, args, output: 1.001 * output)
    )


@situation("1", differs=FAULTS, first="0(x)")
def random_chain_with_a_wrong_gradient(case):
    return _with_a_hook(
        case,
        lambda m: m.register_full_backward_hook(lambda module, dx, dy: (1.001 * dx[0],)),
    )


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_random_chains(case):
    case.check()
