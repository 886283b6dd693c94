"""What a loss charges for the KL: all of it, or what is above the free bits.

Shapes: kl (N, G), nats, the KL of each image in the G parts that it splits into -> a number.
Left panel: numpy_ref/free_bits.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model_specs.vlae import GAMMA_LEAST, GAMMA_STEP, SOFT_MARGIN, VLAEConfig


class AllBits(nn.Module):
    """mean_n sum_g kl[n, g]: no bits are free."""

    def forward(self, kl: Tensor) -> Tensor:
        return kl.sum() / len(kl)


class TotalFreeBits(AllBits):
    """max(lambda, mean_n sum_g kl[n, g]) in training; in evaluation no bits are free.

    The derivative at lambda is that from above, as torch takes it: a lambda of 0 changes nothing.
    Source: Kingma et al. (2016), arXiv 1606.04934, with all latents as one group.
    """

    def __init__(self, free: float) -> None:
        super().__init__()
        self.free = free

    def forward(self, kl: Tensor) -> Tensor:
        mean = super().forward(kl)
        return mean.clamp(min=self.free) if self.training else mean


class LatentFreeBits(AllBits):
    """sum_g max(lambda / G, mean_n kl[n, g]) in training; in evaluation no bits are free.

    The derivative at lambda / G is that from above, as in TotalFreeBits.
    Source: Kingma et al. (2016), arXiv 1606.04934, with each part as a group.
    """

    def __init__(self, free: float) -> None:
        super().__init__()
        self.free = free

    def forward(self, kl: Tensor) -> Tensor:
        if not self.training:
            return super().forward(kl)
        return kl.mean(0).clamp(min=self.free / kl.shape[1]).sum()


class SoftFreeBits(AllBits):
    """gamma mean_n sum_g kl[n, g] in training, gamma in [1e-3, 1] moved after each use:

        gamma <- min(1, 1.1 gamma) where that mean is above 1.05 lambda,
        gamma <- max(1e-3, gamma / 1.1) where it is below lambda

    In evaluation gamma is 1, and stays what it was. It is a buffer, as running averages are.
    Source: Chen et al. (2016), arXiv 1611.02731: steps of 10 %. The least gamma is ours:
    where the KL stays below lambda, gamma would fall for ever.
    """

    gamma: Tensor

    def __init__(self, free: float, dtype: Any = torch.float64, device: Any = None) -> None:
        super().__init__()
        self.free = free
        self.register_buffer("gamma", torch.ones((), dtype=dtype, device=device))

    def forward(self, kl: Tensor) -> Tensor:
        mean = super().forward(kl)
        if not self.training:
            return mean
        gamma = self.gamma.clone()
        with torch.no_grad():  # no branch on a number that may be on a GPU
            up = torch.where(mean > SOFT_MARGIN * self.free, gamma * GAMMA_STEP, gamma)
            down = (gamma / GAMMA_STEP).clamp(min=GAMMA_LEAST)
            self.gamma.copy_(torch.where(mean < self.free, down, up.clamp(max=1)))
        return gamma * mean


def make_free_bits(config: VLAEConfig, **where: Any) -> AllBits:
    """What `config.free_bits_of` names; without a z there is nothing to charge for."""
    make: dict[str, Callable[[], AllBits]] = {
        "none": AllBits,
        "total": lambda: TotalFreeBits(config.free_nats),
        "latent": lambda: LatentFreeBits(config.free_nats),
        "soft": lambda: SoftFreeBits(config.free_nats, **where),
    }
    return make["none" if config.latent == "none" else config.free_bits_of]()
