"""Record a small model of either panel."""

from __future__ import annotations

import torch
from torch import nn

from diptych import parity


def record(path, model, x, *, backward=True):
    """Record a model on x, with the cotangent 1 + y."""
    with parity.record(path, model):
        if isinstance(model, nn.Module):
            y = model(torch.from_numpy(x).requires_grad_(backward))
            if backward:
                y.backward(1 + y.detach())
        else:
            y, vjp = model(x)
            if backward:
                vjp(1 + y)
