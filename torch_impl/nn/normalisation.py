"""Batch normalisation over several processes, as numpy_ref.nn.layers does for the whole batch.

torch's SyncBatchNorm needs GPUs; this one runs on every backend of torch.distributed.
The left panel runs in one process and has no such file.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

AXES = (0, 2, 3)
"""The axes of a batch statistic: all but the channels."""


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d with statistics over the batches of all ranks.

        mu = sum x / m,   var = sum (x - mu)^2 / m,   with sums and m over all ranks

    The loss of each rank depends on these sums, so that their gradients are sums over ranks too.
    In evaluation mode, and in one process, it is nn.BatchNorm2d. If all ranks have the same images,
    mu and var are right, but the running variance has an m that counts the images of each rank.

    Shapes: x (N, C, H, W) -> y (N, C, H, W): N images of C channels, H x W pixels.
    Source: Ioffe & Szegedy (2015), arXiv 1502.03167; the sums over ranks are those of
    torch.nn.SyncBatchNorm.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not (dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(x)
        self._check_input_dim(x)
        dtype, x = x.dtype, x.to(self.weight.dtype)
        m = _sum_over_ranks(x.new_tensor(x.numel() / x.shape[1], dtype=torch.float64))
        mu = _sum_over_ranks(x.sum(AXES)) / m
        n = x - mu[:, None, None]
        var = _sum_over_ranks((n * n).sum(AXES)) / m
        self._track(mu.detach(), var.detach() * (m / (m - 1)))
        n = n / torch.sqrt(var + self.eps)[:, None, None]
        return (n * self.weight[:, None, None] + self.bias[:, None, None]).to(dtype)

    @torch.no_grad()
    def _track(self, mu: Tensor, var: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None and self.num_batches_tracked is not None
        self.running_mean.lerp_(mu, self.momentum)
        self.running_var.lerp_(var, self.momentum)
        self.num_batches_tracked += 1


def synchronised(module: nn.Module) -> list[SyncBatchNorm2d]:
    """Convert every BatchNorm2d of `module` in place, and return them."""
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = SyncBatchNorm2d
    return [child for child in module.modules() if isinstance(child, SyncBatchNorm2d)]


class _SumOverRanks(torch.autograd.Function):
    """y = sum over ranks of x;   dx = sum over ranks of dy"""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clone()
        dist.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return _SumOverRanks.apply(dy)


def _sum_over_ranks(x: Tensor) -> Tensor:
    return _SumOverRanks.apply(x)
