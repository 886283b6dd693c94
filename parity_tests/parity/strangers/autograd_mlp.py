"""A multilayer perceptron in the manner of HIPS autograd's examples, against torch's modules."""

import autograd.numpy as np
from autograd.extend import defvjp, primitive
from numpy.random import RandomState
from torch import nn

from diptych import parity


@primitive
def logsumexp(x):
    """log sum_j exp(x_ij), the sum over the last axis; x (N, D) -> (N, 1)"""
    largest = x.max(axis=-1, keepdims=True)
    return largest + np.log(np.exp(x - largest).sum(axis=-1, keepdims=True))


defvjp(logsumexp, lambda ans, x: lambda g: g * np.exp(x - ans))


def init_random_params(scale, layer_sizes, rs):
    """A list of (weights, biases) tuples, one for each layer."""
    return [
        (scale * rs.randn(m, n), scale * rs.randn(n))
        for m, n in zip(layer_sizes[:-1], layer_sizes[1:], strict=True)
    ]


def neural_net_predict(params, inputs):
    """Log-probabilities of the classes; inputs (N, D)"""
    for layer, (W, b) in enumerate(params):
        outputs = parity.tap(f"layer{layer}", np.dot(inputs, W) + b)
        inputs = np.tanh(outputs)
    return outputs - logsumexp(outputs)


class Net(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))

    def forward(self, inputs):
        for layer, linear in enumerate(self.layers):
            outputs = parity.tap(f"layer{layer}", linear(inputs))
            inputs = outputs.tanh()
        return outputs.log_softmax(-1)


rs = RandomState(5)
inputs = rs.randn(7, 6)
params = init_random_params(0.7, [6, 5, 4, 3], rs)


def compare():
    # adapter
    def left(x, W0, b0, W1, b1, W2, b2):
        return neural_net_predict([(W0, b0), (W1, b1), (W2, b2)], x)

    named = {f"{k}{i}": a for i, layer in enumerate(params) for k, a in zip("Wb", layer)}
    names = {k: f"layers.{k[1]}." + {"W": "weight", "b": "bias"}[k[0]] for k in named}
    options = {"names": names, "layout": {"W?": "i o -> o i"}, "style": "autograd"}
    return parity.compare_functions(left, Net([6, 5, 4, 3]).double(), [inputs], named, **options)
    # end of adapter
