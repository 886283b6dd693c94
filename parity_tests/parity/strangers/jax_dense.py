"""A dense layer in jax whose activation has a derivative by hand, against torch's modules."""

import jax
import jax.numpy as jnp
import numpy as np
from torch import nn

from diptych import parity


@jax.custom_vjp
def silu(x):
    return x * jax.nn.sigmoid(x)


def silu_fwd(x):
    s = jax.nn.sigmoid(x)
    return x * s, (x, s)


def silu_bwd(residuals, g):
    x, s = residuals
    return (g * (s + x * s * (1 - s)),)


silu.defvjp(silu_fwd, silu_bwd)


def dense(params, x):
    """x (N, D), params["w"] (D, M), params["b"] (M,) -> (N, M)"""
    z = parity.tap("z", jnp.dot(x, params["w"]) + params["b"])
    return silu(z)


class Dense(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear, self.silu = nn.Linear(inputs, outputs), nn.SiLU()

    def forward(self, x):
        return self.silu(parity.tap("z", self.linear(x)))


rng = np.random.default_rng(10)
x = rng.normal(size=(7, 4))
params = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}


def compare():
    # adapter
    names, layout = {"w": "linear.weight", "b": "linear.bias"}, {"w": "i o -> o i"}
    options = {"names": names, "layout": layout, "style": "jax"}
    return parity.compare_functions(dense, Dense(4, 3).double(), [x], params, **options)
    # end of adapter
