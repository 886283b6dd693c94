"""Multi-headed attention in the manner of numpy-ml, against torch's modules."""

import numpy as np
from torch import nn

from diptych import parity


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class DotProductAttention:
    """Y = softmax(Q K^T / sqrt(d)) V; Q (..., m, d), K (..., n, d), V (..., n, d) -> (..., m, d)"""

    def forward(self, Q, K, V):
        self.Q, self.K, self.V = Q, K, V
        self.scale = 1 / np.sqrt(Q.shape[-1])
        scores = parity.tap("scores", Q @ K.swapaxes(-2, -1) * self.scale)
        self.weights = parity.tap("weights", softmax(scores))
        return self.weights @ V

    def backward(self, dLdY):
        dweights = parity.tap_gradient("weights", dLdY @ self.V.swapaxes(-2, -1))
        dV = self.weights.swapaxes(-2, -1) @ dLdY
        inner = (dweights * self.weights).sum(axis=-1, keepdims=True)
        dscores = parity.tap_gradient("scores", self.weights * (dweights - inner))
        dQ = dscores @ self.K * self.scale
        dK = dscores.swapaxes(-2, -1) @ self.Q * self.scale
        return dQ, dK, dV


class MultiHeadedAttention:
    """Projections, heads, attention within each head, and the projection back."""

    def __init__(self, n_heads):
        self.n_heads, self.attention = n_heads, DotProductAttention()
        self.parameters, self.gradients = {}, {}

    def split(self, x):
        """(n_ex, m, d) -> (n_ex, n_heads, m, d / n_heads)"""
        return x.reshape(*x.shape[:2], self.n_heads, -1).transpose(0, 2, 1, 3)

    def join(self, x):
        return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)

    def linear(self, name, x):
        return x @ self.parameters[f"W{name}"] + self.parameters[f"b{name}"]

    def linear_gradient(self, name, x, dy):
        self.gradients[f"W{name}"] = np.einsum("nmi,nmo->io", x, dy)
        self.gradients[f"b{name}"] = dy.sum(axis=(0, 1))
        return dy @ self.parameters[f"W{name}"].T

    def forward(self, X):
        self.X = X
        q, k, v = (parity.tap(f"all_{name}", self.linear(name, X)) for name in "qkv")
        self.Z = parity.tap("heads", self.join(self.attention.forward(*map(self.split, (q, k, v)))))
        return self.linear("o", self.Z)

    def backward(self, dLdY):
        dZ = parity.tap_gradient("heads", self.linear_gradient("o", self.Z, dLdY))
        dheads = map(self.join, self.attention.backward(self.split(dZ)))
        dq, dk, dv = map(parity.tap_gradient, ("all_q", "all_k", "all_v"), dheads)
        dX = self.linear_gradient("q", self.X, dq)
        dX += self.linear_gradient("k", self.X, dk)
        dX += self.linear_gradient("v", self.X, dv)
        return dX


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        projections = [parity.tap(f"all_{name}", getattr(self, name)(x)) for name in "qkv"]
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projections)
        scores = parity.tap("scores", (q @ k.mT).div(q.shape[-1] ** 0.5))
        weights = parity.tap("weights", scores.softmax(-1))
        heads = parity.tap("heads", (weights @ v).transpose(1, 2).flatten(2))
        return self.o(heads)


rng = np.random.default_rng(9)
X = rng.normal(size=(2, 5, 6))
params = {f"W{name}": rng.normal(size=(6, 6)) for name in "qkvo"}
params |= {f"b{name}": rng.normal(size=6) for name in "qkvo"}


def compare():
    # adapter
    left, right = MultiHeadedAttention(2), Attention(6, 2).double()
    names = {k: f"{k[1]}." + {"W": "weight", "b": "bias"}[k[0]] for k in params}
    options = {"names": names, "layout": {"W?": "i o -> o i"}, "style": "layer"}
    return parity.compare_functions(left, right, [X], params, **options)
    # end of adapter
