"""A dense layer in the manner of numpy-ml's `FullyConnected`, against torch's Linear."""

import numpy as np
from torch import nn

from diptych import parity


class Tanh:
    def fn(self, z):
        return np.tanh(z)

    def grad(self, z):
        return 1 - np.tanh(z) ** 2


class FullyConnected:
    """Y = act_fn(X W + b); gradients add up until `flush_gradients`."""

    def __init__(self, n_out, act_fn):
        self.n_out, self.act_fn = n_out, act_fn
        self.parameters = {"W": None, "b": None}
        self.gradients = {}
        self.X, self.derived_variables = [], {"Z": []}

    def flush_gradients(self):
        self.X, self.derived_variables = [], {"Z": []}
        self.gradients = {k: np.zeros_like(v) for k, v in self.parameters.items()}

    def forward(self, X, retain_derived=True):
        """X (n_ex, n_in), W (n_in, n_out), b (1, n_out) -> Y (n_ex, n_out)"""
        Z = parity.tap("Z", X @ self.parameters["W"] + self.parameters["b"])
        if retain_derived:
            self.X.append(X)
            self.derived_variables["Z"].append(Z)
        return self.act_fn.fn(Z)

    def backward(self, dLdY, retain_grads=True):
        """dLdY (n_ex, n_out) -> dLdX (n_ex, n_in)"""
        X, Z = self.X[-1], self.derived_variables["Z"][-1]
        dZ = parity.tap_gradient("Z", dLdY * self.act_fn.grad(Z))
        if retain_grads:
            self.gradients["W"] += X.T @ dZ
            self.gradients["b"] += dZ.sum(axis=0, keepdims=True)
        return dZ @ self.parameters["W"].T


class Dense(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)

    def forward(self, x):
        return parity.tap("Z", self.linear(x)).tanh()


rng = np.random.default_rng(7)
X = rng.normal(size=(7, 4))
params = {"W": rng.normal(size=(4, 5)), "b": rng.normal(size=(1, 5))}


def compare():
    # adapter
    left, right = FullyConnected(5, Tanh()), Dense(4, 5).double()
    names, layout = {"W": "linear.weight", "b": "linear.bias"}, {"W": "i o -> o i", "b": "1 o -> o"}
    options = {"names": names, "layout": layout, "style": "layer"}
    return parity.compare_functions(left, right, [X], params, **options)
    # end of adapter
