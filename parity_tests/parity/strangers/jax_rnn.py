"""A recurrent network as jax's `lax.scan`, against torch's RNN."""

import jax
import jax.numpy as jnp
import numpy as np
from torch import nn

from diptych import parity


def rnn(params, xs, h0):
    """h_t = tanh(W_x x_t + W_h h_{t-1} + b); xs (T, B, D), h0 (B, H) -> hs (T, B, H), h_T"""

    def step(h, x):
        new_h = jnp.tanh(x @ params["wx"] + h @ params["wh"] + params["b"])
        return new_h, new_h

    h_last, hs = jax.lax.scan(step, h0, xs)
    return hs, h_last


rng = np.random.default_rng(11)
xs, h0 = rng.normal(size=(3, 2, 3)), rng.normal(size=(2, 4))
params = {"wx": rng.normal(size=(3, 4)), "wh": rng.normal(size=(4, 4)), "b": rng.normal(size=4)}


def compare():
    # adapter
    right = nn.RNN(3, 4).double()
    nn.init.zeros_(right.bias_hh_l0)  # jax's network has one bias
    names = {"wx": "weight_ih_l0", "wh": "weight_hh_l0", "b": "bias_ih_l0"}
    options = {"names": names, "layout": {"w?": "io->oi", "*put[1]": "bh->1bh"}, "style": "jax"}
    return parity.compare_functions(rnn, right, [xs, h0], params, ignore=["bias_hh*"], **options)
    # end of adapter
