"""What a loss charges for the KL: all of it, or what is above the free bits.

Shapes: kl (N, G), nats, the KL of each image in the G parts that it splits into -> a number.
Right panel: torch_impl/free_bits.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from model_specs.vlae import GAMMA_LEAST, GAMMA_STEP, SOFT_MARGIN, VLAEConfig
from numpy_ref.module import Array, Buffer, Module, Vjp


class AllBits(Module):
    """mean_n sum_g kl[n, g]: no bits are free."""

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        share = 1 / len(kl)
        return share * kl.sum(), lambda d: np.full_like(kl, share * d)


class TotalFreeBits(AllBits):
    """max(lambda, mean_n sum_g kl[n, g]) in training; in evaluation no bits are free.

    The derivative at lambda is that from above, as torch takes it: a lambda of 0 changes nothing.
    Source: Kingma et al. (2016), arXiv 1606.04934, with all latents as one group.
    """

    def __init__(self, free: float) -> None:
        self.free = free

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        mean, vjp = super().forward(kl)
        if not self.training:
            return mean, vjp
        return np.maximum(mean, self.free), lambda d: vjp(d * (mean >= self.free))


class LatentFreeBits(AllBits):
    """sum_g max(lambda / G, mean_n kl[n, g]) in training; in evaluation no bits are free.

    The derivative at lambda / G is that from above, as in TotalFreeBits.
    Source: Kingma et al. (2016), arXiv 1606.04934, with each part as a group.
    """

    def __init__(self, free: float) -> None:
        self.free = free

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        if not self.training:
            return super().forward(kl)
        means, each = kl.mean(0), self.free / kl.shape[1]

        def vjp(d: Array) -> Array:
            return np.broadcast_to(d * (means >= each) / len(kl), kl.shape)

        return np.maximum(means, each).sum(), vjp


class SoftFreeBits(AllBits):
    """gamma mean_n sum_g kl[n, g] in training, gamma in [1e-3, 1] moved after each use:

        gamma <- min(1, 1.1 gamma) where that mean is above 1.05 lambda,
        gamma <- max(1e-3, gamma / 1.1) where it is below lambda

    In evaluation gamma is 1, and stays what it was. It is a buffer, as running averages are.
    Source: Chen et al. (2016), arXiv 1611.02731: steps of 10 %. The least gamma is ours:
    where the KL stays below lambda, gamma would fall for ever.
    """

    def __init__(self, free: float, dtype: DTypeLike = np.float64) -> None:
        self.free = free
        self.gamma = Buffer(np.ones((), dtype))

    def forward(self, kl: Array) -> tuple[Array, Vjp]:
        mean, vjp = super().forward(kl)
        if not self.training:
            return mean, vjp
        gamma = self.gamma.data.copy()
        up = min(gamma * GAMMA_STEP, 1.0) if mean > SOFT_MARGIN * self.free else gamma
        down = max(gamma / GAMMA_STEP, GAMMA_LEAST)
        self.gamma.data[...] = down if mean < self.free else up
        return gamma * mean, lambda d: vjp(gamma * d)


def make_free_bits(config: VLAEConfig, dtype: DTypeLike) -> AllBits:
    """What `config.free_bits_of` names; without a z there is nothing to charge for."""
    make: dict[str, Callable[[], AllBits]] = {
        "none": AllBits,
        "total": lambda: TotalFreeBits(config.free_nats),
        "latent": lambda: LatentFreeBits(config.free_nats),
        "soft": lambda: SoftFreeBits(config.free_nats, dtype),
    }
    return make["none" if config.latent == "none" else config.free_bits_of]()
