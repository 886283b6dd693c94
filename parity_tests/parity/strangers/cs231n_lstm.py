"""One LSTM step with the signatures of CS231n's `rnn_layers.py`, against its port to torch.

CS231n's gates stand in the order i, f, o, g; torch's LSTMCell has i, f, g, o, and two biases.
"""

import numpy as np
import torch
from torch import nn

from diptych import parity


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    """x (N, D), prev_h and prev_c (N, H), Wx (D, 4H), Wh (H, 4H), b (4H,)
    -> next_h, next_c, cache"""
    a = parity.tap("gates", x.dot(Wx) + prev_h.dot(Wh) + b)
    ai, af, ao, ag = np.split(a, 4, axis=1)
    i, f, o, g = sigmoid(ai), sigmoid(af), sigmoid(ao), np.tanh(ag)
    next_c = f * prev_c + i * g
    next_h = o * np.tanh(next_c)
    cache = (x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c)
    return next_h, next_c, cache


def lstm_step_backward(dnext_h, dnext_c, cache):
    """dnext_h and dnext_c (N, H) -> dx, dprev_h, dprev_c, dWx, dWh, db"""
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c = cache
    tanh_c = np.tanh(next_c)
    do = dnext_h * tanh_c
    dc = dnext_c + dnext_h * o * (1 - tanh_c**2)
    df, di, dg = dc * prev_c, dc * g, dc * i
    dprev_c = dc * f
    da = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
    da = parity.tap_gradient("gates", da)
    dx = da.dot(Wx.T)
    dprev_h = da.dot(Wh.T)
    dWx = x.T.dot(da)
    dWh = prev_h.T.dot(da)
    db = da.sum(axis=0)
    return dx, dprev_h, dprev_c, dWx, dWh, db


class LSTMStep(nn.Module):
    """The port: the same step with torch's operators."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.Wx = nn.Parameter(torch.empty(inputs, 4 * hidden))
        self.Wh = nn.Parameter(torch.empty(hidden, 4 * hidden))
        self.b = nn.Parameter(torch.empty(4 * hidden))

    def forward(self, x, h, c):
        gates = parity.tap("gates", torch.addmm(self.b, x, self.Wx) + h @ self.Wh)
        i, f, o, g = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


rng = np.random.default_rng(4)
state = [rng.normal(size=shape) for shape in [(7, 3), (7, 5), (7, 5)]]
params = {"Wx": rng.normal(size=(3, 20)), "Wh": rng.normal(size=(5, 20)), "b": rng.normal(size=20)}


def compare():
    # adapter
    left, right = (lstm_step_forward, lstm_step_backward), LSTMStep(3, 5).double()
    return parity.compare_functions(left, right, state, params, style="cache")
    # end of adapter
