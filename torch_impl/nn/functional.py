"""Pure functions under the left panel's names.   Left panel: numpy_ref/nn/functional.py

torch.nn.functional has the other functions of the left panel.
Source: the definitions, under the names of torch.nn.functional, unless a function names a paper.
"""

from __future__ import annotations

import torch
from torch import Tensor


def weight_norm(v: Tensor, g: Tensor, axis: int = 0) -> Tensor:
    """w = g v / |v|, |v| over all axes but `axis`, which counts the outputs.

    Shapes: v as the weight; g the same with size 1 on all axes but `axis` -> w as v.
    Source: Salimans & Kingma (2016), arXiv 1602.07868, equations 2 and 3.
    torch.nn.utils.parametrizations.weight_norm calls the same function of torch.
    """
    if v.numel() == g.numel():  # one number an output: |v| cancels, and dv is exactly 0
        return g * (v / v.abs()).detach() + 0 * v
    return torch._weight_norm(v, g, axis)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """p_i = e^x_i / sum_j e^x_j along `axis`. Any shape."""
    return torch.softmax(x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log p_i = x_i - log sum_j e^x_j along `axis`. Any shape. Units: nats."""
    return torch.log_softmax(x, axis)


def logsumexp(x: Tensor, axis: int = -1) -> Tensor:
    """log sum_i e^x_i = m + log sum_i e^(x_i - m), m = max x, over `axis`.

    Any shape -> the same without `axis`. Units: nats.
    torch.logsumexp subtracts m as well, but computes the derivative as e^(x - y), with a relative
    error of eps |y|, where the log-likelihood y of an image may be -1e5. Here m is subtracted
    beforehand.
    """
    m = x.detach().amax(axis, keepdim=True)
    m = torch.where(m.isfinite(), m, 0)  # inf - inf is NaN
    return m.squeeze(axis) + torch.logsumexp(x - m, axis)
