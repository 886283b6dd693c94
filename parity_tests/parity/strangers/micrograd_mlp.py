"""A multilayer perceptron of scalars in the manner of micrograd, against torch's modules."""

import math

import numpy as np
from torch import nn

from diptych import parity


class Value:
    """A scalar with its gradient."""

    def __init__(self, data, _children=()):
        self.data, self.grad = float(data), 0.0
        self._prev, self._backward = set(_children), lambda: None

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def _backward():
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def _backward():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    def tanh(self):
        t = math.tanh(self.data)
        out = Value(t, (self,))

        def _backward():
            self.grad += (1 - t * t) * out.grad

        out._backward = _backward
        return out

    def backward(self):
        topo, visited = [], set()

        def build(v):
            if v not in visited:
                visited.add(v)
                for child in v._prev:
                    build(child)
                topo.append(v)

        build(self)
        self.grad = 1.0
        for v in reversed(topo):
            v._backward()

    __radd__, __rmul__ = __add__, __mul__


class Neuron:
    def __init__(self, w, b, nonlin):
        self.w, self.b, self.nonlin = w, b, nonlin

    def __call__(self, x):
        act = sum((wi * xi for wi, xi in zip(self.w, x, strict=True)), self.b)
        return act.tanh() if self.nonlin else act


class Layer:
    def __init__(self, w, b, nonlin):
        self.neurons = [Neuron(wi, bi, nonlin) for wi, bi in zip(w, b, strict=True)]

    def __call__(self, x):
        return [n(x) for n in self.neurons]


class MLP:
    def __init__(self, *params):
        """params: w, b of one layer after the other; w is nout lists of nin values"""
        last = len(params) - 2
        self.layers = [Layer(*params[i : i + 2], i != last) for i in range(0, last + 1, 2)]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


rng = np.random.default_rng(6)
x = rng.normal(size=(5, 3))
params = {
    "0.weight": rng.normal(size=(4, 3)),
    "0.bias": rng.normal(size=4),
    "2.weight": rng.normal(size=(2, 4)),
    "2.bias": rng.normal(size=2),
}


def compare():
    # adapter
    def left(x, *weights):
        return list(map(MLP(*weights), x))

    right = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    return parity.compare_functions((left, Value), right, [x], params, style="scalars")
    # end of adapter
