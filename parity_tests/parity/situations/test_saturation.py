"""Correct pairs whose small gradients are rounding errors of large terms: saturated functions,
normalisations of few numbers, and long chains."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn

X = np.random.default_rng(9).normal(size=(5, 4))
DTYPES = ["float64", "float32"]


class Head(nn.Module):
    """A function of a linear layer's output and its input."""

    def __init__(self, function, dtype="float64"):
        super().__init__()
        torch.manual_seed(0)
        self.l = nn.Linear(4, 4)
        self.function = function
        self.to(getattr(torch, dtype))

    def forward(self, x):
        return self.function(self.l(x), x)


def _heads(function, other, dtype):
    return pair(Head(function, dtype), Head(other, dtype), X.astype(dtype))


def _softmax(scores):
    e = torch.exp(scores - scores.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


@situation("2", agrees=[(seed, dtype) for seed in (4, 10, 15, 17) for dtype in DTYPES])
def hyperbolic_tangent_that_is_saturated(case):
    seed, dtype = case

    def forward(self, x):
        y = np.tanh(x)
        return y, lambda dy: dy * (1 - y * y)

    x = np.random.default_rng(seed).normal(size=(8, 6)) * (10 if seed == 17 else 100)
    return pair(left(forward=forward), nn.Tanh(), x.astype(dtype))


@situation("2", agrees=[(seed, dtype) for seed in range(5) for dtype in DTYPES])
def softmax_that_is_saturated(case):
    seed, dtype = case
    x = np.random.default_rng(seed).normal(size=(8, 6)) * 100
    model = right(forward=lambda self, x: _softmax(x))
    return pair(nn.Softmax(-1), model, x.astype(dtype))


def _attention(scale, softmax, factor=1.0):
    return lambda y, x: factor * softmax(scale * y @ x.T) @ x


SCALES = [(scale, dtype) for scale in (1, 5, 20, 100) for dtype in DTYPES]


@situation("2", agrees=SCALES)
def attention_of_large_scores(case):
    scale, dtype = case
    softmax = _attention(scale, lambda s: F.softmax(s, -1))
    return _heads(softmax, _attention(scale, _softmax), dtype)


@situation("2", differs=SCALES, first="forward")
def attention_of_large_scores_with_a_fault(case):
    scale, dtype = case
    softmax = _attention(scale, lambda s: F.softmax(s, -1))
    return _heads(softmax, _attention(scale, _softmax, 1.001), dtype)


@situation("2", agrees=SCALES)
def cross_entropy_of_large_scores(case):
    scale, dtype = case

    def by_hand(y, x):
        log_p = scale * y - torch.logsumexp(scale * y, -1, keepdim=True)
        return -log_p[torch.arange(len(x)), x.argmax(-1)]

    return _heads(
        lambda y, x: F.cross_entropy(scale * y, x.argmax(-1), reduction="none"), by_hand, dtype
    )


@situation("2", agrees=SCALES)
def mask_by_a_number_beside_a_mask_by_infinity(case):
    scale, dtype = case
    return _heads(
        lambda y, x: (scale * y).masked_fill(x < 0, -1e9).softmax(-1),
        lambda y, x: (scale * y).masked_fill(x < 0, -torch.inf).softmax(-1),
        dtype,
    )


@situation("2", agrees=DTYPES)
def gelu_by_its_formula(dtype):
    return _heads(
        lambda y, x: F.gelu(5 * y),
        lambda y, x: 5 * y * 0.5 * (1 + torch.erf(5 * y / 2**0.5)),
        dtype,
    )


@situation("2", agrees=[(scale, dtype) for scale in (1, 100) for dtype in DTYPES])
def kernel_that_underflows(case):
    scale, dtype = case
    return _heads(
        lambda y, x: torch.exp(-scale * (y[:, None] - x[None]).square().sum(-1)),
        lambda y, x: torch.exp(-scale * ((y[:, None] - x[None]) ** 2).sum(-1)),
        dtype,
    )


def _norm(n, axis, dtype):
    """A normalisation over one axis by hand; its gradient is a difference of larger terms."""

    def forward(self, x):
        centred = x - x.mean(axis, keepdims=True)
        scale = 1 / np.sqrt((centred**2).mean(axis, keepdims=True) + np.array(1e-5, x.dtype))
        unit = centred * scale

        def vjp(dy):
            self.weight.grad += (dy * unit).sum(0)
            self.bias.grad += dy.sum(0)
            d = dy * self.weight.data
            means = d.mean(axis, keepdims=True), (d * unit).mean(axis, keepdims=True)
            return scale * (d - means[0] - unit * means[1])

        return unit * self.weight.data + self.bias.data, vjp

    return left(forward=forward, weight=np.ones(n, dtype), bias=np.zeros(n, dtype))


@situation("2", agrees=[(n, seed, dtype) for n in (2, 3) for seed in range(4) for dtype in DTYPES])
def layer_norm_of_few_features(case):
    n, seed, dtype = case
    x = np.random.default_rng(seed).normal(size=(8, n)).astype(dtype)
    return pair(_norm(n, -1, dtype), nn.LayerNorm(n).to(getattr(torch, dtype)), x)


@situation("2", agrees=[(n, seed, dtype) for n in (2, 3) for seed in range(4) for dtype in DTYPES])
def batch_norm_of_few_rows(case):
    n, seed, dtype = case
    x = np.random.default_rng(seed).normal(size=(n, 4)).astype(dtype)
    model = nn.BatchNorm1d(4, track_running_stats=False).to(getattr(torch, dtype))
    return pair(_norm(4, 0, dtype), model, x)


def _chain(depth, dtype, factor=1.0):
    """Layers of torch, and a copy in which each linear layer is written as a product."""

    class Product(nn.Linear):
        def forward(self, x):
            return x @ self.weight.T + factor * self.bias

    def layers(linear):
        for _ in range(depth):
            yield from (linear(16, 16), nn.LayerNorm(16), nn.Tanh())

    torch.manual_seed(depth)
    a, b = nn.Sequential(*layers(nn.Linear)), nn.Sequential(*layers(Product))
    b.load_state_dict(a.state_dict())
    to = getattr(torch, dtype)
    return pair(a.to(to), b.to(to), draw(12, 16).astype(dtype))


@situation("2", agrees=[(depth, dtype) for depth in (5, 50) for dtype in DTYPES])
def chain_of_layers(case):
    return _chain(*case)


@situation("2", differs=[(depth, dtype) for depth in (5, 50) for dtype in DTYPES], first="0")
def chain_of_layers_with_a_fault(case):
    return _chain(*case, factor=1.01)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_saturated_functions(case):
    case.check()
