"""y = tanh(x w + b) in every style that `compare_functions` takes, and in torch."""

import numpy as np
import torch


def affine_forward(x, w, b):
    y = np.tanh(x @ w + b)
    return y, (x, w, y)


def affine_backward(dout, cache):
    x, w, y = cache
    da = dout * (1 - y**2)
    return da @ w.T, x.T @ da, da.sum(0)


def affine_vjp(x, w, b):
    y, cache = affine_forward(x, w, b)
    return y, lambda dy: affine_backward(dy, cache)


def affine_autograd(x, w, b):
    from autograd import numpy as anp  # noqa: PLC0415  (optional)

    return anp.tanh(anp.dot(x, w) + b)


def affine_jax(x, w, b):
    from jax import numpy as jnp  # noqa: PLC0415  (optional)

    return jnp.tanh(x @ w + b)


def affine_torch(x, w, b):
    return torch.tanh(x @ w + b)


class Affine(torch.nn.Module):
    """The same with torch's layout of the weight."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = torch.nn.Linear(inputs, outputs).double()

    def forward(self, x):
        return torch.tanh(self.linear(x))


def affine_arrays(rng, dtype="float64"):
    """x, and the parameters w and b."""
    x, w, b = rng.normal(size=(4, 5)), rng.normal(size=(5, 3)), rng.normal(size=3)
    return x.astype(dtype), {"w": w.astype(dtype), "b": b.astype(dtype)}
