"""A multilayer perceptron in the manner of HIPS autograd's examples, against torch's modules."""

from itertools import pairwise

import autograd.numpy as np
from autograd.extend import defvjp, primitive
from autograd.tracer import getval  # noqa: F401  (for the faults)
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
    return [(scale * rs.randn(m, n), scale * rs.randn(n)) for m, n in pairwise(layer_sizes)]


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
    right = Net([6, 5, 4, 3]).double()
    options = {"names": "order", "layout": {"*.0": "i o -> o i"}, "style": "autograd"}
    return parity.compare_functions(neural_net_predict, right, [inputs], params, **options)
    # end of adapter
