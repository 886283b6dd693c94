"""Pure functions by the left panel's names, for which torch has its own.

relu, tanh and sigmoid are torch's own as they are.   Left panel: numpy_ref/nn/functional.py
"""

from __future__ import annotations

import torch
from torch import Tensor


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """p_i = e^x_i / sum_j e^x_j along `axis`; no overflow."""
    return torch.softmax(x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log p_i = x_i - log sum_j e^x_j along `axis`; no overflow, no log 0. Nats."""
    return torch.log_softmax(x, axis)


def logsumexp(x: Tensor, axis: int = -1) -> Tensor:
    """log sum_i e^x_i = m + log sum_i e^(x_i - m), m = max x, along `axis`, which goes. Nats.

    torch.logsumexp subtracts m too, but its derivative is e^(x - y), which is off by eps |y|: the
    log-likelihood of an image may be -1e5. So m is taken out beforehand.
    """
    m = x.detach().amax(axis, keepdim=True)
    m = torch.where(m.isfinite(), m, 0)  # for inf - inf is NaN
    return m.squeeze(axis) + torch.logsumexp(x - m, axis)
