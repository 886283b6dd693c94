"""Layer normalisation in the loops of llm.c, against torch's LayerNorm with its statistics."""

import math

import numpy as np
import torch
from torch import nn

from diptych import parity


def layernorm_forward(inp, weight, bias):
    """inp (B, T, C), weight (C,), bias (C,) -> out (B, T, C), mean (B, T), rstd (B, T)"""
    B, T, C = inp.shape
    eps = 1e-5
    out, mean, rstd = np.zeros_like(inp), np.zeros((B, T)), np.zeros((B, T))
    for b in range(B):
        for t in range(T):
            x = inp[b, t]
            m = 0.0
            for i in range(C):
                m += x[i]
            m = m / C
            v = 0.0
            for i in range(C):
                xshift = x[i] - m
                v += xshift * xshift
            v = v / C
            s = 1.0 / math.sqrt(v + eps)
            for i in range(C):
                n = s * (x[i] - m)
                out[b, t, i] = n * weight[i] + bias[i]
            mean[b, t] = m
            rstd[b, t] = s
    return out, parity.tap("mean", mean), parity.tap("rstd", rstd)


def layernorm_backward(dout, inp, weight, mean, rstd):
    """dout (B, T, C) -> dinp, dweight, dbias; each of them is added to, as in llm.c"""
    B, T, C = inp.shape
    dinp, dweight, dbias = np.zeros_like(inp), np.zeros_like(weight), np.zeros_like(weight)
    for b in range(B):
        for t in range(T):
            # two sums over the row first
            dnorm_mean = 0.0
            dnorm_norm_mean = 0.0
            for i in range(C):
                norm_bti = (inp[b, t, i] - mean[b, t]) * rstd[b, t]
                dnorm_i = weight[i] * dout[b, t, i]
                dnorm_mean += dnorm_i
                dnorm_norm_mean += dnorm_i * norm_bti
            dnorm_mean = dnorm_mean / C
            dnorm_norm_mean = dnorm_norm_mean / C
            for i in range(C):
                norm_bti = (inp[b, t, i] - mean[b, t]) * rstd[b, t]
                dnorm_i = weight[i] * dout[b, t, i]
                dbias[i] += dout[b, t, i]
                dweight[i] += norm_bti * dout[b, t, i]
                dval = dnorm_i - dnorm_mean - norm_bti * dnorm_norm_mean
                dinp[b, t, i] += dval * rstd[b, t]
    return dinp, dweight, dbias


class LayerNorm(nn.LayerNorm):
    """torch's LayerNorm; the statistics are computed beside it for the comparison."""

    def forward(self, inp):
        var, mean = torch.var_mean(inp, -1, correction=0)
        parity.tap("mean", mean), parity.tap("rstd", torch.rsqrt(var + self.eps))
        return super().forward(inp)


rng = np.random.default_rng(14)
inp = rng.normal(size=(2, 3, 5)) + rng.normal(size=(2, 3, 1))
params = {"weight": rng.normal(size=5), "bias": rng.normal(size=5)}


def compare():
    # adapter
    def left(inp, weight, bias):
        out, *statistics = layernorm_forward(inp, weight, bias)
        return out, lambda dout: layernorm_backward(dout, inp, weight, *statistics)

    return parity.compare_functions(left, LayerNorm(5).double(), [inp], params)
    # end of adapter
