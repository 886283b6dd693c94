"""Batch normalisation with the signatures of CS231n's `layers.py`, against its port to torch.

CS231n's running variance is the biased one, and its momentum weighs the old value: the port keeps
both, where torch's BatchNorm1d does neither.
"""

import numpy as np
import torch
from torch import nn

from diptych import parity


def batchnorm_forward(x, gamma, beta, bn_param):
    """x (N, D), gamma (D,), beta (D,) -> out (N, D), cache; the statistics in bn_param move"""
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    running_mean = bn_param.get("running_mean", np.zeros(x.shape[1]))
    running_var = bn_param.get("running_var", np.zeros(x.shape[1]))

    if mode == "train":
        mean, var = x.mean(axis=0), x.var(axis=0)
        std = np.sqrt(var + eps)
        x_hat = parity.tap("x_hat", (x - mean) / std)
        out = gamma * x_hat + beta
        cache = (x_hat, gamma, std)
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * var
    else:
        out = gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta
        cache = None

    bn_param["running_mean"] = parity.tap("new_mean", running_mean)
    bn_param["running_var"] = parity.tap("new_var", running_var)
    return out, cache


def batchnorm_backward(dout, cache):
    """dout (N, D) -> dx, dgamma, dbeta"""
    x_hat, gamma, std = cache
    dbeta = dout.sum(axis=0)
    dgamma = (dout * x_hat).sum(axis=0)
    dx_hat = parity.tap_gradient("x_hat", dout * gamma)
    dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std
    return dx, dgamma, dbeta


class BatchNorm(nn.Module):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, with CS231n's running statistics."""

    def __init__(self, width, eps=1e-5, momentum=0.9):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.zeros(width))

    def forward(self, x):
        var, mean = torch.var_mean(x, 0, correction=0)
        x_hat = parity.tap("x_hat", (x - mean) * torch.rsqrt(var + self.eps))
        self.running_mean.lerp_(mean.detach(), 1 - self.momentum)
        self.running_var.lerp_(var.detach(), 1 - self.momentum)
        parity.tap("new_mean", self.running_mean)
        parity.tap("new_var", self.running_var)
        return torch.addcmul(self.beta, self.gamma, x_hat)


rng = np.random.default_rng(2)
x = rng.normal(size=(7, 4)) * [0.5, 1.0, 2.0, 3.0] + [1.0, -2.0, 0.5, 0.0]
params = {"gamma": rng.normal(size=4), "beta": rng.normal(size=4)}


def compare():
    # adapter
    def forward(x, gamma, beta):
        return batchnorm_forward(x, gamma, beta, {"mode": "train"})

    left, right = (forward, batchnorm_backward), BatchNorm(4).double()
    return parity.compare_functions(left, right, [x], params, style="cache", ignore=["running_*"])
    # end of adapter
