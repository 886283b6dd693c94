"""An affine layer with the signatures of CS231n's `layers.py`, against torch's Linear."""

import numpy as np
from torch import nn

from diptych import parity


def affine_forward(x, w, b):
    """x (N, d_1, ..., d_k), w (D, M), b (M,) -> out (N, M), cache"""
    out = x.reshape(x.shape[0], -1).dot(w) + b
    cache = (x, w, b)
    return out, cache


def affine_backward(dout, cache):
    """dout (N, M) -> dx, dw, db"""
    x, w, _ = cache
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T.dot(dout)
    db = dout.sum(axis=0)
    return dx, dw, db


rng = np.random.default_rng(1)
x = rng.normal(size=(7, 3, 2, 2))
params = {"w": rng.normal(size=(12, 5)), "b": rng.normal(size=5)}


def compare():
    # adapter
    left, right = (affine_forward, affine_backward), nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    options = {"names": {"w": "1.weight", "b": "1.bias"}, "layout": {"w": "i o -> o i"}}
    return parity.compare_functions(left, right.double(), [x], params, style="cache", **options)
    # end of adapter
