"""Pure functions that torch.nn.functional lacks under one name."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_mean_exp(x: Tensor, dim: int) -> Tensor:
    """log((1/K) sum_k e^x_k) over `dim`."""
    return torch.logsumexp(x, dim) - math.log(x.shape[dim])
